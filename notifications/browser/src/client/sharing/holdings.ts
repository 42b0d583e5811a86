/** What the switchboard knows of the server: what it holds for this browser, and how far it is. */
import { type Cursor, CursorTrack } from "../cursor.ts";
import type { Frame, Wishes } from "./wire.ts";

export interface Held {
  readonly subscriptionId: string;
  readonly topic: string;
  readonly createdAt?: unknown;
  readonly options: { readonly maxReplayAge?: unknown };
  /** Whether others began it: no tab has asked for it. */
  readonly unasked?: unknown;
  /** A replay on this connection brings nothing at or before it. */
  readonly begin: Cursor | undefined;
  /** Whether the subscription itself begins earlier, as `since` asked. */
  readonly reachesBack: boolean;
}

export class Holdings {
  /** By topic or pattern. */
  readonly #held = new Map<string, Held>();
  /** Nothing live at or before it is still to come. */
  readonly known = new CursorTrack();
  /** The newest place that the server told of: what begins now begins here. */
  readonly newest = new CursorTrack();

  /** Take an auth_success. */
  reset({ subscriptions, cursor }: Frame): void {
    this.#held.clear();
    this.restart(cursor);
    for (const one of subscriptions as Held[]) {
      this.add({ ...one, begin: cursor, reachesBack: false });
    }
  }

  /** Go to this place, perhaps of another life of the log. */
  restart(cursor: Cursor | undefined): void {
    if (cursor === undefined) return;
    this.known.reset(cursor);
    this.newest.reset(cursor);
  }

  reached(cursor: Cursor | undefined): void {
    if (cursor === undefined) return;
    this.known.merge(cursor);
    this.newest.merge(cursor);
  }

  add(held: Held): void {
    this.#held.set(held.topic, held);
    // What is before it may be on its way still, so it is not known.
    if (held.begin !== undefined) this.newest.merge(held.begin);
  }

  to(topic: string | undefined): Held | undefined {
    return this.#held.get(topic ?? "");
  }

  get size(): number {
    return this.#held.size;
  }

  /** List what of these wishes is held. */
  of(wishes: Wishes): readonly Held[] {
    return this.#all().filter(({ subscriptionId }) => wishes.has(subscriptionId));
  }

  /** List what others began and no tab knows of. */
  unclaimed(isWanted: (subscriptionId: string) => boolean): readonly Held[] {
    return this.#all().filter((one) => one.unasked === true && !isWanted(one.subscriptionId));
  }

  /** Take out, and list, what nobody wants. */
  takeUnwanted(isWanted: (subscriptionId: string) => boolean): readonly string[] {
    const unwanted = this.#all().filter(({ subscriptionId }) => !isWanted(subscriptionId));
    for (const { topic } of unwanted) this.#held.delete(topic);
    return unwanted.map(({ subscriptionId }) => subscriptionId);
  }

  #all(): readonly Held[] {
    return [...this.#held.values()];
  }
}
