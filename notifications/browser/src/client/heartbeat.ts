/** Asks for a sign of life, and notices its absence. */
import type { Cancel, Environment } from "./environment.ts";

/** A deadline that fires this much late says that we slept, not that the server is gone. */
const SLEPT = 1_000;

export interface HeartbeatPace {
  readonly interval: number;
  readonly timeout: number;
}

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
  readonly #pace: HeartbeatPace;
  readonly #events: HeartbeatEvents;
  #beat: Cancel | undefined;
  #deadline: Cancel | undefined;

  constructor(
    environment: Environment,
    pace: HeartbeatPace,
    events: HeartbeatEvents,
  ) {
    this.#environment = environment;
    this.#pace = pace;
    this.#events = events;
  }

  start(): void {
    this.#beat = this.#environment.after(this.#pace.interval, () => {
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
    this.#deadline?.();
    this.#deadline = undefined;
  }

  /** @param patient whether a late deadline asks again: once, or sleep would hide a death. */
  #ask(patient: boolean): void {
    const askedAt = this.#environment.now();
    const { timeout } = this.#pace;
    this.#deadline = this.#environment.after(timeout, () => {
      this.#deadline = undefined;
      const late = this.#environment.now() - askedAt - timeout;
      if (patient && late > SLEPT) this.#ask(false);
      else this.#events.dead();
    });
    this.#events.ping(this.#environment.elapsed());
  }
}
