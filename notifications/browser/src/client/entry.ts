/** What this client has of one topic or pattern: subscriptions here, and the server's for them. */
import type { Cursor } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import { encode } from "./encode.ts";
import { NotificationError } from "./errors.ts";
import type { Events } from "./events.ts";
import { isWire } from "./fields.ts";
import type { SubscribeOptions } from "./frames.ts";
import type { Place } from "./progress.ts";
import type { Owed } from "./replays.ts";
import type { LocalSubscription } from "./subscription.ts";
import { type Segments, patternProblem, split } from "./topics.ts";
import type { SubscriptionOptions } from "./types.ts";

/** Messages that wait for a handler of a subscription that has none. */
export const MAX_KEPT = 1_000;

/** `asked`: whether it is of a replay that was owed. */
type Kept = readonly [delivery: Delivery, asked: boolean];

export class Entry {
  readonly topic: string;
  readonly segments: Segments;
  readonly createdAt: Date;
  readonly locals = new Set<LocalSubscription>();
  options: SubscribeOptions;
  /** The server's id while connected and confirmed. */
  heldId: string | undefined;
  asking = false;
  /** Whether what is being asked for is of subscriptions that have ended, and not of `locals`. */
  isOutdated = false;
  /** Whether the server ever confirmed it: then a refusal that is temporary does not end it. */
  confirmed = false;
  /** Whether it is from before a reload, and no handler has come for it yet. */
  isOrphan = false;
  /** Whether the application knows that. */
  isTold = false;
  owed: Owed | undefined;
  /** Of the replay with which it began. */
  place: Place | undefined;
  /** Bound MAX_KEPT, policy: the oldest is let go, and the application hears of the first. */
  #kept: Kept[] = [];
  #hasOverflowed = false;
  readonly #events: Events;

  constructor(topic: string, options: SubscribeOptions, createdAt: Date, events: Events) {
    this.#events = events;
    this.topic = topic;
    this.segments = split(topic);
    this.options = options;
    this.createdAt = createdAt;
  }

  /** How many messages wait for a handler to come, or for a replay that is owed. */
  get waiting(): number {
    let waiting = this.#kept.length;
    for (const local of this.locals) waiting += local.held;
    return waiting;
  }

  /** Where that replay goes on after a reload; undefined when all of it has been handled. */
  get replayFrom(): Cursor | undefined {
    const isOpen = this.owed !== undefined || this.place?.running;
    return isOpen ? this.place?.snapshot() : undefined;
  }

  /** @param asked whether it is of the replay that is owed. */
  deliver(delivery: Delivery, asked: boolean): void {
    for (const local of [...this.locals]) local.deliver(delivery, asked);
    if (!this.isOrphan) return;
    delivery.take();
    this.#kept.push([delivery, asked]);
    if (this.#kept.length <= MAX_KEPT) return;
    this.#kept.shift()?.[0].settle();
    if (this.#hasOverflowed) return;
    this.#hasOverflowed = true;
    this.#events.emit({ type: "gap", reason: "NO_HANDLER", topic: this.topic });
  }

  /** Confirm who waits for it, and hand over what waits for them. */
  confirm(): void {
    for (const local of this.locals) {
      local.confirm();
      if (this.owed !== undefined) local.hold(this.owed);
    }
    if (this.locals.size === 0) return;
    this.isOrphan = this.#hasOverflowed = false;
    for (const [delivery, asked] of this.#letGo()) {
      for (const local of [...this.locals]) local.deliver(delivery, asked);
      delivery.settle();
    }
  }

  /** The replay that was owed is over, or given up. */
  release(owed: Owed): void {
    if (this.owed === owed) this.owed = undefined;
    for (const local of [...this.locals]) local.release(owed);
  }

  /** Let what waits for a handler count as handled. */
  settleKept(): void {
    for (const [delivery] of this.#letGo()) delivery.settle();
  }

  #letGo(): readonly Kept[] {
    const kept = this.#kept;
    this.#kept = [];
    return kept;
  }
}

/**
 * Copy what is the server's business: what the application changes later is not sent.
 *
 * @throws {NotificationError} `BAD_TOPIC`, or `BAD_FRAME` where it can not be sent.
 */
export function wireOptions(topic: string, options: SubscriptionOptions): SubscribeOptions {
  const problem = patternProblem(topic);
  if (problem !== undefined) throw new NotificationError("BAD_TOPIC", problem);
  const { replayMissed, maxReplayAge, since, serverFilter, batch } = options;
  const wire = { replayMissed, maxReplayAge, since, filter: serverFilter, batch };
  return (JSON.parse(encode({ options: wire })) as { options: SubscribeOptions }).options;
}

/** Whether what the server holds with `held` sends what `wanted` asks for. */
export function serves(held: SubscribeOptions, wanted: SubscribeOptions): boolean {
  const terms = ({ maxReplayAge, filter, batch }: SubscribeOptions): string =>
    textOf([maxReplayAge, filter, batch]);
  const isWhole = held.replayMissed !== false || wanted.replayMissed === false;
  return isWhole && terms(held) === terms(wanted);
}

/** Whether anything in it is set. */
export function hasFields(object: object): boolean {
  return Object.values(object).some((value) => value !== undefined);
}

/** Whether two subscriptions can share the server's. Where they begin is each one's own affair. */
export function agree(one: SubscribeOptions, other: SubscribeOptions): boolean {
  const terms = ({ replayMissed, maxReplayAge, filter }: SubscribeOptions): string =>
    textOf([replayMissed, maxReplayAge, filter]);
  return terms(one) === terms(other);
}

/** Equal for equal values: a server may give names back in another order. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_name, one: unknown) =>
    isWire(one) ? Object.fromEntries(Object.entries(one).sort()) : one,
  );
}
