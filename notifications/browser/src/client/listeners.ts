/** The listeners of an application, none of which can harm another. */

export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>();
  protected readonly complain: (error: unknown) => void;

  /** @param complain gets what a listener throws. */
  constructor(complain: (error: unknown) => void) {
    this.complain = complain;
  }

  /** Gives back what removes it. The same one twice is one. */
  listen(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Call those that there are now; false when there are none. */
  tell(value: T): boolean {
    const all = [...this.#listeners];
    for (const listener of all) {
      try {
        listener(value);
      } catch (error) {
        this.complain(error);
      }
    }
    return all.length > 0;
  }
}
