/** A message on its way to handlers, and the count of those that wait. */
import type { NotificationMessage } from "./types.ts";

/** Messages that may wait for handlers; over it the connection is dropped until half are done. */
export const MAX_WAITING = 10_000;

/** One message for any number of handlers. Settled when all of them have, or have let it go. */
export class Delivery {
  readonly message: NotificationMessage;
  /** Handlers that have not settled, and one for whoever hands it out. */
  #left = 1;
  #onSettled: (() => void) | undefined;

  constructor(message: NotificationMessage) {
    this.message = message;
  }

  /** One more has to settle it. */
  take(): void {
    this.#left += 1;
  }

  settle(): void {
    this.#left -= 1;
    if (this.#left === 0) this.#onSettled?.();
  }

  /** Whether all to whom it was handed so far have settled. */
  get isSettled(): boolean {
    return this.#left === 1;
  }

  /** It is handed out no more: call `run` when all have settled. */
  whenSettled(run: () => void): void {
    this.#onSettled = run;
    this.settle();
  }
}

/** Counts what waits for handlers. Bound MAX_WAITING, by whoever is told that it is full. */
export class Backlog {
  #waiting = 0;
  #isFull = false;
  readonly #changed: (isFull: boolean) => void;

  /** @param changed called with true over the bound, and with false when half has been handled. */
  constructor(changed: (isFull: boolean) => void) {
    this.#changed = changed;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** @param change how many more wait, or (below 0) fewer. */
  add(change: number): void {
    this.#waiting += change;
    if (this.#isFull ? this.#waiting * 2 > MAX_WAITING : this.#waiting <= MAX_WAITING) return;
    this.#isFull = !this.#isFull;
    this.#changed(this.#isFull);
  }
}
