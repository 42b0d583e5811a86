/** A clock that moves when a test says so. */
import type { Cancel } from "../../src/client/environment.ts";

interface Timer {
  readonly due: number;
  readonly run: () => void;
}

export class Clock {
  /** Milliseconds since the epoch. */
  time = Date.UTC(2026, 0, 1);
  #timers: Timer[] = [];

  readonly now = (): number => this.time;

  readonly after = (delay: number, run: () => void): Cancel => {
    const timer = { due: this.time + delay, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** How many timers wait. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Move on, firing each timer at its time. */
  advance(duration: number): void {
    const end = this.time + duration;
    for (let timer = this.#due(end); timer !== undefined; timer = this.#due(end)) {
      this.time = timer.due;
      this.#fire(timer);
    }
    this.time = end;
  }

  /** Sleep: the time passes, and whatever was due fires late. */
  sleep(duration: number): void {
    this.time += duration;
    const due = this.#timers.filter((timer) => timer.due <= this.time);
    for (const timer of due) this.#fire(timer);
  }

  #due(end: number): Timer | undefined {
    return this.#timers
      .filter((timer) => timer.due <= end)
      .sort((left, right) => left.due - right.due)[0];
  }

  #fire(timer: Timer): void {
    if (!this.#timers.includes(timer)) return;
    this.#timers = this.#timers.filter((other) => other !== timer);
    timer.run();
  }
}
