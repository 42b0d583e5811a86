/** What this client has of one topic or pattern: subscriptions here, and the server's for them. */
import type { Delivery } from "./delivery.ts";
import { encode } from "./encode.ts";
import type { SubscribeOptions } from "./frames.ts";
import type { Owed } from "./replays.ts";
import type { LocalSubscription } from "./subscription.ts";
import { type Segments, split } from "./topics.ts";
import type { SubscriptionOptions } from "./types.ts";

/** Messages that wait for a handler of a subscription that has none. */
export const MAX_KEPT = 1_000;

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
  /** Bound MAX_KEPT, policy: the oldest is let go, and the application hears of the first. */
  #kept: Delivery[] = [];
  #hasOverflowed = false;
  readonly #overflowed: () => void;

  /** @param overflowed called when, for the first time, a message is let go. */
  constructor(topic: string, options: SubscribeOptions, createdAt: Date, overflowed: () => void) {
    this.#overflowed = overflowed;
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

  /** @param asked whether it is of the replay that is owed. */
  deliver(delivery: Delivery, asked: boolean): void {
    for (const local of [...this.locals]) local.deliver(delivery, asked);
    if (!this.isOrphan) return;
    delivery.take();
    this.#kept.push(delivery);
    if (this.#kept.length <= MAX_KEPT) return;
    this.#kept.shift()?.settle();
    if (!this.#hasOverflowed) this.#overflowed();
    this.#hasOverflowed = true;
  }

  /** Confirm who waits for it, and hand over what waits for them. */
  confirm(): void {
    for (const local of this.locals) {
      local.confirm();
      if (this.owed !== undefined) local.hold(this.owed);
    }
    if (this.locals.size === 0) return;
    this.isOrphan = this.#hasOverflowed = false;
    for (const delivery of this.letGo()) {
      for (const local of [...this.locals]) local.deliver(delivery, false);
      delivery.settle();
    }
  }

  /** The replay that was owed is over, or given up. */
  release(owed: Owed): void {
    if (this.owed === owed) this.owed = undefined;
    for (const local of [...this.locals]) local.release(owed);
  }

  /** Give back what waits for a handler, to be settled. */
  letGo(): Delivery[] {
    const kept = this.#kept;
    this.#kept = [];
    return kept;
  }
}

/**
 * Copy what is the server's business: what the application changes later is not sent.
 *
 * @throws {NotificationError} `BAD_FRAME`, where it can not be sent.
 */
export function wireOptions(options: SubscriptionOptions): SubscribeOptions {
  const { replayMissed, maxReplayAge, since, serverFilter, batch } = options;
  const wire = { replayMissed, maxReplayAge, since, filter: serverFilter, batch };
  return (JSON.parse(encode({ options: wire })) as { options: SubscribeOptions }).options;
}

/** Whether anything in it is set. */
export function hasFields(object: object): boolean {
  return Object.values(object).some((value) => value !== undefined);
}

/** Whether two subscriptions can share the server's. */
export function agree(one: SubscribeOptions, other: SubscribeOptions): boolean {
  const terms = ({ replayMissed, maxReplayAge, since, filter }: SubscribeOptions): string =>
    JSON.stringify([replayMissed, maxReplayAge, since, filter]);
  return terms(one) === terms(other);
}
