/** What the application subscribed to, what the server holds, and how the two are kept the same. */
import type { Cursor, CursorTrack } from "./cursor.ts";
import { Entries } from "./entries.ts";
import { Entry, agree, hasFields, wireOptions } from "./entry.ts";
import type { Cancel } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import type { HeldSubscription, SubscribeOptions } from "./frames.ts";
import { type OwedContext, beginning } from "./owed.ts";
import { ASK_AGAIN } from "./replays.ts";
import type { SubscriptionsContext } from "./subscriptions-context.ts";
import type { LocalSubscription } from "./subscription.ts";
import { patternProblem } from "./topics.ts";

/** A server that does not answer for a subscription does not hold up the publishes longer. */
const RESTORE_TIMEOUT = 10_000;

export class Subscriptions {
  readonly #context: SubscriptionsContext;
  readonly entries = new Entries();
  readonly #byId = new Map<string, LocalSubscription>();
  /** Unsubscribed while away: what the server still holds of these has ended. */
  readonly #left = new Set<string>();
  #online = false;
  /** Whether answers are waited for before the connection counts as restored. */
  #isRestoring = false;
  #deadline: Cancel | undefined;

  constructor(context: SubscriptionsContext) {
    this.#context = context;
  }

  get locals(): LocalSubscription[] {
    return [...this.#byId.values()];
  }

  add(local: LocalSubscription): void {
    const problem = patternProblem(local.topic);
    if (problem !== undefined) {
      this.#refuse(local, new NotificationError("BAD_TOPIC", problem));
      return;
    }
    const options = wireOptions(local.options);
    const { topic, createdAt } = local;
    const entry = this.#entry(topic, options, createdAt);
    if (entry.isOrphan || entry.locals.size === 0) entry.options = options;
    else if (!agree(entry.options, options)) {
      const text = `Give the options of the first subscription to ${topic}.`;
      this.#refuse(local, new NotificationError("CONFLICT", text));
      return;
    }
    this.#byId.set(local.id, local);
    entry.locals.add(local);
    if (entry.isOrphan) {
      // Not at once: what waits would reach the handler before the caller has the subscription.
      queueMicrotask(() => {
        if (entry.heldId !== undefined) entry.confirm();
      });
    } else if (entry.heldId !== undefined) entry.confirm();
    else if (this.#online && !entry.asking) this.#ask(entry);
  }

  remove(id: string): void {
    const local = this.#byId.get(id);
    if (local === undefined) return;
    this.#byId.delete(id);
    local.end();
    const entry = this.entries.get(local.topic);
    entry?.locals.delete(local);
    if (entry?.locals.size !== 0) return;
    const isQueued = entry.owed !== undefined && this.#context.replays.forget(entry.owed);
    if (!entry.asking || isQueued) {
      this.#drop(entry);
      return;
    }
    entry.isOutdated = true;
    entry.confirmed = false;
    entry.owed = undefined;
  }

  /** Take up what was subscribed before a reload: it waits for its handlers. */
  recall(topic: string, options: SubscribeOptions, createdAt: Date): void {
    const entry = this.#entry(topic, options, createdAt);
    entry.confirmed = true;
    entry.isOrphan = entry.locals.size === 0;
  }

  /**
   * Bring both sides together after auth_success. The server's list is authoritative.
   *
   * @param from where the handlers are; undefined on a first connection.
   * @param seen what has been given to them.
   */
  restore(held: readonly HeldSubscription[], from: Cursor | undefined, seen: CursorTrack): void {
    this.#online = this.#isRestoring = true;
    for (const { topic, subscriptionId, createdAt } of held) {
      const known = this.entries.get(topic);
      // What `since` asks for comes with a new subscription only. (One that is owed was asked for.)
      const isNew = known?.confirmed === false && known.owed === undefined;
      if ((isNew && known.options.since !== undefined) || this.#left.has(topic)) {
        this.#unsubscribe(topic, subscriptionId);
      } else this.adopt(topic, subscriptionId, createdAt);
    }
    this.#left.clear();
    for (const entry of this.entries.all()) {
      if (entry.heldId !== undefined || entry.asking) continue;
      if (from !== undefined && entry.confirmed && entry.options.replayMissed !== false) {
        // The server lost it: what came since is missing. A fresh copy, as each moves by itself.
        const brought = seen.sibling();
        brought.follow(seen);
        entry.owed ??= beginning(entry, this.#owedContext, { since: from, brought });
        for (const local of entry.locals) local.hold(entry.owed);
      }
      this.#ask(entry);
    }
    this.#deadline = this.#context.environment.after(RESTORE_TIMEOUT, () => {
      this.#endRestoring();
    });
    this.#checkRestored();
  }

  /** The connection is gone; nothing is known of the server until `restore`. */
  suspend(): void {
    this.#online = this.#isRestoring = false;
    this.#deadline?.();
    for (const entry of this.entries.all()) {
      entry.heldId = undefined;
      entry.asking = false;
      if (!entry.isOutdated) continue;
      this.#left.add(entry.topic); // the server may hold it or not
      this.#renew(entry);
    }
  }

  /** Take what the server holds, also when others begin it. If we ask for it, the answer names it. */
  adopt(topic: string, subscriptionId: string, createdAt = new Date()): void {
    const entry = this.#entry(topic, {}, createdAt);
    if (entry.asking) return;
    entry.isOrphan = entry.locals.size === 0;
    this.#confirm(entry, subscriptionId);
  }

  /** The server ended a subscription of its own accord, or says that it has ended. */
  ended(subscriptionId: string, error: NotificationError): void {
    for (const entry of this.entries.all()) {
      if (entry.heldId === subscriptionId) this.#end(entry, error);
    }
  }

  #entry(topic: string, options: SubscribeOptions, createdAt: Date): Entry {
    const known = this.entries.get(topic);
    if (known !== undefined) return known;
    const entry = new Entry(topic, options, createdAt, () => {
      this.#context.events.emit({ type: "gap", reason: "NO_HANDLER", topic });
    });
    this.entries.add(entry);
    return entry;
  }

  readonly #owedContext: OwedContext = {
    base: () => this.#context.inbox.base,
    confirm: (entry, subscriptionId) => {
      this.#confirm(entry, subscriptionId);
      this.#checkRestored();
    },
    refused: (entry, error) => this.#refused(entry, error),
    ended: (topic, frame) => {
      this.#context.inbox.replayed(frame, topic);
    },
    lost: (topic) => {
      this.#context.events.emit({ type: "gap", reason: "CONNECTION_LOST", topic });
    },
  };

  #ask(entry: Entry): void {
    const { options, topic } = entry;
    const replays = options.since !== undefined || options.replayMissed === true;
    if (replays && !entry.confirmed) entry.owed ??= beginning(entry, this.#owedContext);
    entry.asking = true;
    if (entry.owed !== undefined) {
      this.#context.replays.add(entry.owed);
      return;
    }
    const id = this.#context.requests.newId();
    this.#context.requests.expect(id, {
      ok: (frame) => {
        entry.asking = false;
        if (frame.type === "subscribed") this.#confirm(entry, frame.subscriptionId);
        this.#checkRestored();
      },
      refused: (error) => {
        entry.asking = false;
        if (this.#refused(entry, error)) this.#askLater(entry, error.retryAfter ?? ASK_AGAIN);
        this.#checkRestored();
      },
    });
    const wanted = hasFields(options) ? options : undefined;
    this.#context.link.send({ type: "subscribe", id, topic, options: wanted });
  }

  /** The server refused a subscription; true when it should be asked again later. */
  #refused(entry: Entry, error: NotificationError): boolean {
    const data = error.code === "ALREADY_SUBSCRIBED" ? error.data?.["subscriptionId"] : undefined;
    const existing = typeof data === "string" ? data : undefined;
    if (entry.isOutdated) {
      this.#renew(entry, existing);
      return false;
    }
    if (existing !== undefined) {
      this.#confirm(entry, existing);
      return entry.owed !== undefined;
    }
    if (entry.confirmed && error.temporary) return true;
    this.#end(entry, error);
    return false;
  }

  /** What was asked for of old has been answered: let it go, and ask for what is wanted now. */
  #renew(entry: Entry, oldId?: string): void {
    entry.isOutdated = false;
    if (oldId !== undefined) this.#unsubscribe(entry.topic, oldId);
    if (entry.locals.size === 0) this.#forget(entry);
    else if (this.#online) this.#ask(entry);
  }

  #askLater(entry: Entry, delay: number): void {
    this.#context.environment.after(delay, () => {
      const isWanted = this.entries.get(entry.topic) === entry;
      if (this.#online && isWanted && entry.heldId === undefined && !entry.asking) this.#ask(entry);
    });
  }

  #confirm(entry: Entry, subscriptionId: string): void {
    if (entry.isOutdated) {
      this.#renew(entry, subscriptionId);
      return;
    }
    entry.heldId = subscriptionId;
    const isNew = !entry.confirmed;
    entry.confirmed = true;
    entry.confirm();
    if (isNew) this.#context.state.save();
    if (!entry.isOrphan || entry.isTold) return;
    entry.isTold = true;
    const { topic, createdAt } = entry;
    const unsubscribe = (): void => {
      if (entry.isOrphan) this.#drop(entry);
    };
    this.#context.events.emit({ type: "orphan", topic, createdAt, unsubscribe });
  }

  #end(entry: Entry, error: NotificationError): void {
    this.#forget(entry);
    for (const local of entry.locals) this.#refuse(local, error);
  }

  #refuse(local: LocalSubscription, error: NotificationError): void {
    this.#byId.delete(local.id);
    local.end(error);
    this.#context.events.emit({ type: "subscription_ended", subscription: local, error });
  }

  #drop(entry: Entry): void {
    this.#forget(entry);
    if (entry.heldId !== undefined) this.#unsubscribe(entry.topic, entry.heldId);
    else if (!this.#online) this.#left.add(entry.topic); // asked for or not: an answer may be lost
  }

  #forget(entry: Entry): void {
    this.entries.delete(entry);
    if (entry.owed !== undefined) this.#context.replays.forget(entry.owed);
    for (const delivery of entry.letGo()) delivery.settle();
    if (entry.confirmed) this.#context.state.save();
  }

  #unsubscribe(topic: string, subscriptionId: string): void {
    const id = this.#context.requests.newId();
    this.#context.requests.expect(id, {
      ok: () => undefined,
      refused: (error) => {
        if (!error.temporary) return; // it is gone already
        this.#context.environment.after(error.retryAfter ?? ASK_AGAIN, () => {
          const isGone = this.entries.get(topic) === undefined;
          if (this.#online && isGone) this.#unsubscribe(topic, subscriptionId);
        });
      },
      lost: () => {
        this.#left.add(topic);
      },
    });
    this.#context.link.send({ type: "unsubscribe", id, subscriptionId });
  }

  #checkRestored(): void {
    if (!this.#isRestoring) return;
    for (const { asking } of this.entries.all()) if (asking) return;
    this.#endRestoring();
  }

  #endRestoring(): void {
    this.#isRestoring = false;
    this.#deadline?.();
    this.#context.restored();
  }
}
