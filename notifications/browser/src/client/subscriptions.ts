/** What the application subscribed to, what the server holds, and how the two are kept the same. */
import type { Cursor } from "./cursor.ts";
import { Endings } from "./endings.ts";
import { Entries } from "./entries.ts";
import { Entry, agree, hasFields, serves, wireOptions } from "./entry.ts";
import type { Cancel } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import type { HeldSubscription, SubscribeOptions } from "./frames.ts";
import { type OwedContext, beginning } from "./owed.ts";
import { ASK_AGAIN } from "./replays.ts";
import type { RememberedSubscription } from "./state-manager.ts";
import type { SubscriptionsContext } from "./subscriptions-context.ts";
import type { LocalSubscription } from "./subscription.ts";

/** A server that does not answer for a subscription does not hold up the publishes longer. */
const RESTORE_TIMEOUT = 10_000;

type Adopted = Omit<HeldSubscription, "createdAt"> & Partial<HeldSubscription>;

export class Subscriptions {
  readonly #context: SubscriptionsContext;
  readonly entries = new Entries();
  readonly #byId = new Map<string, LocalSubscription>();
  readonly #endings: Endings;
  readonly #owedContext: OwedContext;
  #online = false;
  /** Whether answers are waited for before the connection counts as restored. */
  #isRestoring = false;
  #deadline: Cancel | undefined;

  constructor(context: SubscriptionsContext) {
    this.#context = context;
    this.#endings = new Endings(context);
    this.#owedContext = {
      parts: context,
      confirm: (entry, subscriptionId) => {
        this.#confirm(entry, subscriptionId);
        this.#checkRestored();
      },
      refused: (entry, error) => this.#refused(entry, error),
    };
  }

  get locals(): LocalSubscription[] {
    return [...this.#byId.values()];
  }

  add(local: LocalSubscription): void {
    const { topic, createdAt } = local;
    let options: SubscribeOptions;
    try {
      options = wireOptions(topic, local.options);
    } catch (error) {
      return this.#refuse(local, error as NotificationError);
    }
    const entry = this.#entry(topic, options, createdAt);
    // One to which a replay is owed already waits for the next connection, which compares again.
    const isOther =
      entry.isOrphan && entry.owed === undefined && !serves(entry.options, options);
    if (entry.isOrphan || entry.locals.size === 0) entry.options = options;
    else if (!agree(entry.options, options)) {
      const message = `Give the options of the first subscription to ${topic}.`;
      return this.#refuse(local, new NotificationError("CONFLICT", message));
    }
    this.#byId.set(local.id, local);
    entry.locals.add(local);
    if (isOther && entry.heldId !== undefined) {
      this.#endings.ask(topic, entry.heldId);
      entry.heldId = undefined;
      this.#askFrom(entry, this.#context.progress.cursor());
    } else if (entry.isOrphan) {
      // Not at once: what waits would reach the handler before the caller has the subscription.
      queueMicrotask(() => {
        if (entry.heldId !== undefined) this.#confirmLocals(entry);
      });
    } else if (entry.heldId !== undefined) this.#confirmLocals(entry);
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
  recall({ topic, options, createdAt, replayFrom }: RememberedSubscription): void {
    const entry = this.#entry(topic, options, createdAt);
    entry.confirmed = true;
    entry.isOrphan = entry.locals.size === 0;
    if (replayFrom !== undefined) {
      const place = { since: replayFrom, isCutOff: true };
      entry.owed = beginning(entry, this.#owedContext, place);
    }
  }

  /**
   * Bring both sides together after auth_success. The server's list is authoritative.
   *
   * @param from where the handlers are; undefined on a first connection.
   */
  restore(held: readonly HeldSubscription[], from: Cursor | undefined): void {
    this.#online = this.#isRestoring = true;
    const left = this.#endings.take();
    for (const one of held) {
      const { topic, subscriptionId, options = {} } = one;
      const known = this.entries.get(topic);
      const isWanted = known !== undefined && known.locals.size > 0;
      // What `since` asks for comes with a new subscription only. (One that is owed was asked for.)
      const isNew = known?.confirmed === false && known.owed === undefined;
      const isOther =
        (isNew && known.options.since !== undefined) ||
        (isWanted && !serves(options, known.options));
      if (isOther || left.has(topic)) this.#endings.ask(topic, subscriptionId);
      else this.adopt(one);
    }
    for (const entry of this.entries.all()) {
      if (entry.heldId === undefined && !entry.asking) this.#askFrom(entry, from);
    }
    this.#deadline = this.#context.environment.after(RESTORE_TIMEOUT, () => {
      this.#checkRestored(true);
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
      this.#endings.add(entry.topic); // the server may hold it or not
      this.#renew(entry);
    }
  }

  /** Take what the server holds, also when others begin it. If we ask for it, the answer names it. */
  adopt({ topic, subscriptionId, options = {}, createdAt = new Date() }: Adopted): void {
    const entry = this.#entry(topic, options, createdAt);
    if (entry.asking) return;
    entry.isOrphan = entry.locals.size === 0;
    if (entry.isOrphan) entry.options = options;
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
    const entry = new Entry(topic, options, createdAt, this.#context.events);
    this.entries.add(entry);
    return entry;
  }

  /** Ask for what the server has lost, or holds with other options, from where the handlers are. */
  #askFrom(entry: Entry, since: Cursor | undefined): void {
    const isWhole = entry.options.replayMissed !== false;
    if (entry.owed === undefined && since !== undefined && entry.confirmed && isWhole) {
      // What waits for a handler comes again: nobody has had it.
      const brought = entry.isOrphan ? undefined : this.#context.progress.seen();
      entry.settleKept();
      entry.isOrphan = entry.locals.size === 0;
      entry.owed = beginning(entry, this.#owedContext, { since, brought });
      for (const local of entry.locals) local.hold(entry.owed);
    }
    this.#ask(entry);
  }

  #ask(entry: Entry): void {
    const { options, topic } = entry;
    const replays = options.since !== undefined || options.replayMissed === true;
    if (replays && !entry.confirmed) entry.owed ??= beginning(entry, this.#owedContext);
    entry.asking = true;
    if (entry.owed !== undefined) return this.#context.replays.add(entry.owed);
    const wanted = hasFields(options) ? options : undefined;
    this.#context.requests.ask({ type: "subscribe", topic, options: wanted }, {
      ok: (frame) => {
        entry.asking = false;
        if (frame.type === "subscribed") this.#confirm(entry, frame.subscriptionId);
        this.#checkRestored();
      },
      refused: (error) => {
        entry.asking = false;
        if (this.#refused(entry, error)) {
          this.#context.environment.after(error.retryAfter ?? ASK_AGAIN, () => {
            const isWanted = this.entries.get(topic) === entry && entry.heldId === undefined;
            if (this.#online && isWanted && !entry.asking) this.#ask(entry);
          });
        }
        this.#checkRestored();
      },
    });
  }

  /** The server refused a subscription; true when it should be asked again later. */
  #refused(entry: Entry, error: NotificationError): boolean {
    const { subscriptionId } = error.data ?? {};
    const isHeld = error.code === "ALREADY_SUBSCRIBED" && typeof subscriptionId === "string";
    const existing = isHeld ? subscriptionId : undefined;
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
    if (oldId !== undefined) this.#endings.ask(entry.topic, oldId);
    if (entry.locals.size === 0) this.#forget(entry);
    else if (this.#online) this.#ask(entry);
  }

  #confirm(entry: Entry, subscriptionId: string): void {
    if (entry.isOutdated) return this.#renew(entry, subscriptionId);
    entry.heldId = subscriptionId;
    const isNew = !entry.confirmed;
    entry.confirmed = true;
    this.#endings.topics.delete(entry.topic);
    this.#confirmLocals(entry);
    if (isNew) this.#context.state.save();
    if (!entry.isOrphan || entry.isTold) return;
    entry.isTold = true;
    const { topic, createdAt } = entry;
    const unsubscribe = (): void => {
      if (entry.isOrphan) this.#drop(entry);
    };
    this.#context.events.emit({ type: "orphan", topic, createdAt, unsubscribe });
  }

  /** Tell those who wait for it, and have what is owed to them go out. */
  #confirmLocals(entry: Entry): void {
    entry.confirm();
    if (entry.locals.size > 0 && entry.owed !== undefined) this.#context.replays.add(entry.owed);
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
    if (entry.heldId !== undefined) this.#endings.ask(entry.topic, entry.heldId);
    else if (!this.#online) this.#endings.add(entry.topic); // an answer may have been lost
  }

  #forget(entry: Entry): void {
    this.entries.delete(entry);
    if (entry.owed !== undefined) this.#context.replays.forget(entry.owed);
    entry.settleKept();
    if (entry.confirmed) this.#context.state.save();
  }

  /** @param isLate whether no answer is waited for any more. */
  #checkRestored(isLate = false): void {
    const isWaiting = !isLate && this.entries.all().some(({ asking }) => asking);
    if (!this.#isRestoring || isWaiting) return;
    this.#isRestoring = false;
    this.#deadline?.();
    this.#context.restored();
  }
}
