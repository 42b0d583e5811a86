/** Tells the application's listeners, none of which can harm another. */
import type { ClientEvent } from "./types.ts";

export class Events {
  readonly #listeners = new Set<(event: ClientEvent) => void>();
  readonly #complain: (error: unknown) => void;

  /** @param complain gets what no listener took: a handler's error, or a listener's own. */
  constructor(complain: (error: unknown) => void) {
    this.#complain = complain;
  }

  /** Gives back what removes it. The same one twice is one. */
  listen(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  emit(event: ClientEvent): void {
    if (this.#listeners.size === 0 && event.type === "handler_error") this.#complain(event.error);
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#complain(error);
      }
    }
  }
}
