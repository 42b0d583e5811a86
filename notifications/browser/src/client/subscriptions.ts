/** What the application subscribed to, what the server holds, and how the two are kept the same. */
import type { Cancel } from "./environment.ts";
import { NotificationError } from "./errors.ts";
import type { ClientFrame, HeldSubscription, RequestId } from "./frames.ts";
import type { Requests } from "./requests.ts";
import type { LocalSubscription } from "./subscription.ts";
import { type Segments, isPattern, matches, patternProblem, split } from "./topics.ts";

/** Wait before asking again for a subscription that we had, when the server names no time. */
const ASK_AGAIN = 1_000;

export interface SubscriptionsContext {
  readonly requests: Requests;
  send(frame: ClientFrame): void;
  after(delay: number, run: () => void): Cancel;
  ended(subscription: LocalSubscription, error: NotificationError): void;
  orphan(held: HeldSubscription): void;
  /** The replay that a subscription asked for ended with its connection; no other brings the rest. */
  cutOff(topic: string): void;
}

/** All subscriptions to one topic or pattern share one of the server's. */
interface Entry {
  readonly topic: string;
  readonly segments: Segments;
  readonly locals: Set<LocalSubscription>;
  /** The server's id while connected and confirmed. */
  heldId: string | undefined;
  asking: boolean;
  /** Whether the server ever confirmed it: then a refusal that is temporary does not end it. */
  confirmed: boolean;
}

export class Subscriptions {
  readonly #context: SubscriptionsContext;
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<string, LocalSubscription>();
  #patterns: readonly Entry[] = [];
  /** Held by the server, wanted by nobody here: topic to its id. */
  readonly #orphans = new Map<string, string>();
  /** Unsubscribed while away: the server still holds them. */
  readonly #left = new Set<string>();
  #online = false;
  /** The subscription whose replay runs, by the request that asked. */
  #replay: { readonly id: number; readonly entry: Entry } | undefined;

  constructor(context: SubscriptionsContext) {
    this.#context = context;
  }

  add(local: LocalSubscription): void {
    const problem = patternProblem(local.topic);
    if (problem !== undefined) {
      this.#refuse(local, new NotificationError("BAD_TOPIC", problem));
      return;
    }
    this.#byId.set(local.id, local);
    const entry = this.#entries.get(local.topic) ?? this.#newEntry(local.topic);
    entry.locals.add(local);
    if (entry.heldId !== undefined) local.confirm();
    else if (this.#online && !entry.asking) this.#adoptOrAsk(entry);
  }

  remove(id: string): void {
    const local = this.#byId.get(id);
    if (local === undefined) return;
    this.#byId.delete(id);
    local.end();
    const entry = this.#entries.get(local.topic);
    entry?.locals.delete(local);
    if (entry?.locals.size === 0 && !entry.asking) this.#drop(entry);
  }

  /** Bring both sides together after auth_success. The server's list is authoritative. */
  restore(held: readonly HeldSubscription[]): void {
    this.#online = true;
    for (const one of held) {
      const entry = this.#entries.get(one.topic);
      if (entry !== undefined) this.#confirm(entry, one.subscriptionId);
      else if (this.#left.has(one.topic)) this.#unsubscribe(one.topic, one.subscriptionId);
      else {
        this.#orphans.set(one.topic, one.subscriptionId);
        this.#context.orphan(one);
      }
    }
    this.#left.clear();
    for (const entry of this.#entries.values()) {
      if (entry.heldId === undefined && !entry.asking) this.#ask(entry);
    }
  }

  /** The connection is gone; nothing is known of the server until `restore`. */
  suspend(): void {
    this.#online = false;
    if (this.#replay !== undefined) this.#cutOff(this.#replay.entry);
    this.#replay = undefined;
    this.#orphans.clear();
    for (const entry of this.#entries.values()) entry.heldId = undefined;
  }

  /** The server ended a subscription of its own accord. */
  ended(subscriptionId: string, error: NotificationError): void {
    for (const entry of this.#entries.values()) {
      if (entry.heldId === subscriptionId) {
        this.#end(entry, error);
        return;
      }
    }
    for (const [topic, id] of this.#orphans) if (id === subscriptionId) this.#orphans.delete(topic);
  }

  /** List who gets a message. One that a subscription's own replay brings is for that one only. */
  matching(topic: string, fromReplay: boolean): readonly LocalSubscription[] {
    const found: LocalSubscription[] = [...(this.#entries.get(topic)?.locals ?? [])];
    const asking = fromReplay ? this.#replay?.entry : undefined;
    if (this.#patterns.length === 0 && asking === undefined) return found;
    const segments = split(topic);
    // Another topic's is an operator's redelivery, which may come in between.
    if (asking !== undefined && matches(asking.segments, segments)) return [...asking.locals];
    for (const entry of this.#patterns) {
      if (matches(entry.segments, segments)) found.push(...entry.locals);
    }
    return found;
  }

  /** A replay that a request asked for is over; gives back the subscription's topic. */
  replayed(id: RequestId): string | undefined {
    if (this.#replay?.id !== id) return undefined;
    const { topic } = this.#replay.entry;
    this.#replay = undefined;
    return topic;
  }

  #newEntry(topic: string): Entry {
    const entry: Entry = {
      topic,
      segments: split(topic),
      locals: new Set(),
      heldId: undefined,
      asking: false,
      confirmed: false,
    };
    this.#entries.set(topic, entry);
    this.#left.delete(topic);
    this.#listPatterns();
    return entry;
  }

  #adoptOrAsk(entry: Entry): void {
    const orphan = this.#orphans.get(entry.topic);
    this.#orphans.delete(entry.topic);
    if (orphan === undefined) this.#ask(entry);
    else this.#confirm(entry, orphan);
  }

  #ask(entry: Entry): void {
    const [first] = entry.locals;
    const { replayMissed, maxReplayAge } = first?.options ?? {};
    const options = {
      ...(replayMissed === undefined ? {} : { replayMissed }),
      ...(maxReplayAge === undefined ? {} : { maxReplayAge }),
    };
    const id = this.#context.requests.newId();
    entry.asking = true;
    this.#context.requests.expect(id, {
      ok: (frame) => {
        entry.asking = false;
        if (frame.type !== "subscribed") return;
        if (replayMissed === true) this.#replay = { id, entry };
        this.#confirm(entry, frame.subscriptionId);
      },
      refused: (error) => {
        entry.asking = false;
        this.#refused(entry, error);
      },
      lost: () => {
        entry.asking = false;
        if (replayMissed === true) this.#cutOff(entry);
        if (entry.locals.size > 0) return;
        this.#forget(entry);
        this.#left.add(entry.topic); // the server may hold it or not
      },
    });
    const wanted = Object.keys(options).length > 0 ? { options } : {};
    this.#context.send({ type: "subscribe", id, topic: entry.topic, ...wanted });
  }

  #refused(entry: Entry, error: NotificationError): void {
    const existing = error.data?.["subscriptionId"];
    if (error.code === "ALREADY_SUBSCRIBED" && typeof existing === "string") {
      this.#confirm(entry, existing);
    } else if (entry.confirmed && error.temporary) {
      entry.asking = true;
      this.#context.after(error.retryAfter ?? ASK_AGAIN, () => {
        if (this.#entries.get(entry.topic) !== entry) return;
        entry.asking = false;
        if (entry.locals.size === 0) this.#drop(entry);
        else if (this.#online && entry.heldId === undefined) this.#ask(entry);
      });
    } else {
      this.#end(entry, error);
    }
  }

  /** Tell who is still there. What is asked for anew begins where the new connection does. */
  #cutOff(entry: Entry): void {
    if (entry.locals.size > 0) this.#context.cutOff(entry.topic);
  }

  #confirm(entry: Entry, subscriptionId: string): void {
    entry.heldId = subscriptionId;
    entry.confirmed = true;
    for (const local of entry.locals) local.confirm();
    if (entry.locals.size === 0) this.#drop(entry); // unsubscribed while we asked
  }

  #end(entry: Entry, error: NotificationError): void {
    this.#forget(entry);
    for (const local of entry.locals) this.#refuse(local, error);
  }

  #refuse(local: LocalSubscription, error: NotificationError): void {
    this.#byId.delete(local.id);
    local.end(error);
    this.#context.ended(local, error);
  }

  #drop(entry: Entry): void {
    this.#forget(entry);
    if (entry.heldId !== undefined) this.#unsubscribe(entry.topic, entry.heldId);
    else if (!this.#online && entry.confirmed) this.#left.add(entry.topic);
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.topic);
    this.#listPatterns();
  }

  #listPatterns(): void {
    this.#patterns = [...this.#entries.values()].filter((entry) => isPattern(entry.topic));
  }

  #unsubscribe(topic: string, subscriptionId: string): void {
    const id = this.#context.requests.newId();
    this.#context.requests.expect(id, {
      ok: () => undefined,
      refused: (error) => {
        if (!error.temporary) return; // it is gone already
        this.#context.after(error.retryAfter ?? ASK_AGAIN, () => {
          if (this.#online && !this.#entries.has(topic)) this.#unsubscribe(topic, subscriptionId);
        });
      },
      lost: () => {
        if (!this.#entries.has(topic)) this.#left.add(topic);
      },
    });
    this.#context.send({ type: "unsubscribe", id, subscriptionId });
  }
}
