/** What the server holds for this browser, and which tabs want it. */
import type { Cursor } from "../cursor.ts";
import type { Frame, Wishes } from "./wire.ts";

export interface Held {
  readonly subscriptionId: string;
  readonly topic: string;
  readonly createdAt: unknown;
  /** A replay on this connection brings nothing at or before it. */
  readonly begin: Cursor;
  /** Whether the subscription itself begins earlier, as `since` asked. */
  readonly reachesBack: boolean;
}

export class Holdings {
  /** By topic or pattern. */
  readonly #held = new Map<string, Held>();
  /** By tab; those of one that reconnects are wanted meanwhile. */
  readonly #wanted = new Map<string, Wishes>();

  get size(): number {
    return this.#held.size;
  }

  /** Take the list of a new connection. */
  reset({ subscriptions, cursor }: Frame): void {
    this.#held.clear();
    for (const one of subscriptions as Frame[]) this.add({ ...one, cursor } as Frame, false);
  }

  /** Take a `subscribed`, or what ALREADY_SUBSCRIBED tells. */
  add(frame: Frame, reachesBack: boolean): void {
    const { subscriptionId, topic, createdAt, cursor } = frame;
    const held = { subscriptionId, topic, createdAt, begin: cursor, reachesBack } as Held;
    this.#held.set(held.topic, held);
  }

  to(topic: string): Held | undefined {
    return this.#held.get(topic);
  }

  /** Take out of the wishes what is not held any more; whether there was nothing of that. */
  keepHeld(wishes: Wishes): boolean {
    const before = wishes.size;
    for (const [id, { topic }] of wishes) {
      if (this.to(topic)?.subscriptionId !== id) wishes.delete(id);
    }
    return wishes.size === before;
  }

  /** List wishes as auth_success does. */
  list(wishes: Wishes): readonly object[] {
    return [...wishes].map(([subscriptionId, { topic, options }]) => {
      return { subscriptionId, topic, options, createdAt: this.to(topic)?.createdAt };
    });
  }

  /** Note whose wishes these are. */
  want(tab: string, wishes: Wishes): void {
    this.#wanted.set(tab, wishes);
  }

  forget(tab: string): void {
    this.#wanted.delete(tab);
  }

  isWanted(subscriptionId: string): boolean {
    for (const wishes of this.#wanted.values()) if (wishes.has(subscriptionId)) return true;
    return false;
  }

  /** The server holds it no more. */
  drop(subscriptionId: string): void {
    for (const { subscriptionId: id, topic } of this.#held.values()) {
      if (id === subscriptionId) this.#held.delete(topic);
    }
  }

  /** Take out, and list, what no tab wants. */
  takeUnwanted(): readonly string[] {
    const ids = [...this.#held.values()].map(({ subscriptionId }) => subscriptionId);
    const unwanted = ids.filter((id) => !this.isWanted(id));
    for (const id of unwanted) this.drop(id);
    return unwanted;
  }
}
