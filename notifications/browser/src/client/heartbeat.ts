/** Asks for a sign of life, and notices its absence. */
import type { Cancel, Environment } from "./environment.ts";

/** A deadline that fires this much late says that we slept, not that the server is gone. */
const SLEPT = 1_000;

export interface HeartbeatEvents {
  ping(t: number): void;
  dead(): void;
}

/**
 * Pings every `interval`; any frame within `timeout` counts as life.
 *
 * A ping on the way is not asked again: a second probe waits for the first one's deadline.
 */
export class Heartbeat {
  readonly #environment: Environment;
  readonly #interval: number;
  readonly #timeout: number;
  readonly #events: HeartbeatEvents;
  #beat: Cancel | undefined;
  #deadline: Cancel | undefined;

  constructor(
    environment: Environment,
    pace: { readonly interval: number; readonly timeout: number },
    events: HeartbeatEvents,
  ) {
    this.#environment = environment;
    this.#interval = pace.interval;
    this.#timeout = pace.timeout;
    this.#events = events;
  }

  start(): void {
    this.#beat = this.#environment.after(this.#interval, () => {
      this.start();
      this.probe();
    });
  }

  stop(): void {
    this.#beat?.();
    this.#deadline?.();
    this.#beat = this.#deadline = undefined;
  }

  /** Ask now. */
  probe(): void {
    if (this.#deadline === undefined) this.#ask(true);
  }

  /** A frame came. */
  alive(): void {
    if (this.#deadline === undefined) return;
    this.#deadline();
    this.#deadline = undefined;
  }

  /** @param patient whether a late deadline asks again: once, or sleep would hide a death. */
  #ask(patient: boolean): void {
    const askedAt = this.#environment.now();
    this.#deadline = this.#environment.after(this.#timeout, () => {
      this.#deadline = undefined;
      const late = this.#environment.now() - askedAt - this.#timeout;
      if (patient && late > SLEPT) this.#ask(false);
      else this.#events.dead();
    });
    this.#events.ping(this.#environment.elapsed());
  }
}
