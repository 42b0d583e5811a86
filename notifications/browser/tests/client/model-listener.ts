/** Who listens to a topic in a run, and what it must have been given. */
import { expect } from "vitest";
import type { Cursor } from "../../src/client/cursor.ts";
import { matches, split } from "../../src/client/topics.ts";
import type {
  NotificationMessage,
  Subscription,
  SubscriptionOptions,
} from "../../src/client/types.ts";
import type { Run } from "./model-run.ts";
import { type Logged, type ModelServer, type Offsets, PARTITIONS } from "./model-server.ts";

export const BEHAVIOURS = [
  "plain",
  "throws",
  "rejects",
  "slow",
  "leaves",
  "again",
  "more",
] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

export class Listener {
  readonly topic: string;
  readonly options: SubscriptionOptions;
  isActive = true;
  /** Everything after this is for it; undefined until it is confirmed. */
  from: Offsets | undefined;
  /** Live messages began here: none at or before it holds the cursor back. */
  #place: Offsets = [];
  readonly #behaviour: Behaviour;
  /**
   * Whether it joined a subscription that was there: then what it gets has no hole. (But before
   * that subscription's place, where it may get what another brings.)
   */
  #isLate: boolean;
  /** In this life of the page, in order. */
  #got: [partition: number, offset: number][] = [];
  /** Handled to the end, in any life. */
  readonly #settled = new Set<string>();
  #subscription: Subscription | undefined;
  /** Whose slow handler has not ended. */
  #running: Subscription | undefined;

  constructor(topic: string, behaviour: Behaviour, options: SubscriptionOptions, isLate: boolean) {
    this.topic = topic;
    this.#behaviour = behaviour;
    this.options = options;
    this.#isLate = isLate;
  }

  /** Subscribe; again after a reload. */
  listen(run: Run): void {
    const options = { ...this.options, onError: () => undefined };
    const handler = (message: NotificationMessage): void | Promise<void> =>
      this.#handle(run, message);
    this.#subscription = run.client.subscribe(this.topic, handler, options);
    void this.#subscription.ready.then(() => {
      const row = run.server.newest.get(this.topic);
      if (this.from !== undefined || row === undefined) return;
      // One from an earlier life of the page is taken over: it goes on from wherever that was.
      if (row.life !== run.server.life) this.#isLate = true;
      if (!this.#isLate) this.from = row.begin;
      this.#place = row.place;
    });
  }

  get isConfirmed(): boolean {
    return this.#isLate || this.from !== undefined || this.#got.length > 0;
  }

  leave(): void {
    this.isActive = false;
    this.#subscription?.unsubscribe();
  }

  /** Each message once, in the order of its partition, and none is missing. */
  check({ log }: ModelServer): void {
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      const got = this.#got.filter(([of]) => of === partition).map(([, offset]) => offset);
      expect(got, this.topic).toEqual([...new Set(got)].sort((one, other) => one - other));
      const first = this.#isLate
        ? Math.max((got[0] ?? Infinity) - 1, this.#place[partition] ?? 0)
        : (this.from?.[partition] ?? Infinity);
      const last = this.isActive ? Infinity : (got.at(-1) ?? 0);
      const wanted = log
        .filter((one) => one.partition === partition && this.#wants(one))
        .map(({ offset }) => offset)
        .filter((offset) => offset > first && offset <= last);
      const missing = wanted.filter(
        (offset) => !got.includes(offset) && !this.#settled.has(`${partition}-${offset}`),
      );
      expect(missing, `${this.topic} misses`).toEqual([]);
    }
    if (this.isActive && !this.#isLate) expect(this.from, "is confirmed").toBeDefined();
  }

  /** The cursor has not passed what is not handled. */
  checkCursor({ log }: ModelServer, { offsets }: Cursor): void {
    if (!this.isActive || this.#isLate || this.from === undefined) return;
    for (const one of log) {
      const { partition, offset } = one;
      const isBehind = offset <= (offsets[String(partition)] ?? 0);
      if (!isBehind || offset <= (this.#place[partition] ?? 0) || !this.#wants(one)) continue;
      expect(this.#settled.has(`${partition}-${offset}`), `cursor past ${offset}`).toBe(true);
    }
  }

  #wants({ topic }: Logged): boolean {
    return matches(split(this.topic), split(topic));
  }

  /** The server lost the subscription: what the newest n were is not known any more. */
  forgotten(): void {
    if ("last" in (this.options.since ?? {})) this.#beginLive();
  }

  #beginLive(): void {
    this.from &&= this.from.map((begin, partition) => Math.max(begin, this.#place[partition] ?? 0));
  }

  /** What a page had not handled comes again, also of a replay that was asked for. */
  reloaded(): void {
    this.#got = [];
  }

  #handle(run: Run, { position, topic }: NotificationMessage): void | Promise<void> {
    const [partition, offset] = position ?? [-1, -1];
    const subscription = this.#subscription;
    if (!this.isActive) run.violations.push(`${this.topic} has left`);
    if (!this.#wants({ topic, partition, offset })) run.violations.push(`${topic} came`);
    this.#got.push([partition, offset]);
    const settle = (): void => {
      if (subscription === this.#subscription) this.#settled.add(`${partition}-${offset}`);
    };
    if (this.#behaviour === "slow" && !run.isEnding) {
      if (this.#running === subscription) run.violations.push(`${this.topic}: two at a time`);
      this.#running = subscription;
      return new Promise<void>((resolve) => run.slow.push(resolve)).then(() => {
        this.#running = undefined;
        settle();
      });
    }
    settle();
    if (this.#behaviour === "rejects") return Promise.reject(new Error("mine"));
    if (this.#behaviour === "throws") throw new Error("mine");
    if (this.#got.length !== 2) return;
    if (this.#behaviour === "leaves" || this.#behaviour === "again") this.leave();
    if (this.#behaviour === "again") run.subscribe(this.topic, "plain", {});
    if (this.#behaviour === "more") run.subscribe("user.1.b", "plain", {});
  }
}
