/** Moves the cursor once the handlers of all earlier frames have finished. */
import { type Cursor, CursorTrack, type Position } from "./cursor.ts";

/** Frames whose handlers may run at once. One over it, and the oldest no longer holds the rest. */
export const MAX_UNFINISHED = 10_000;

interface Step {
  done: boolean;
  readonly apply: () => void;
}

/**
 * Two marks. *Seen* moves as frames arrive and drops what comes twice. The *cursor* moves after the
 * handlers, in the order of the frames, and is what a resume asks from: a message whose handler was
 * cut off by a crash comes again.
 */
export class Progress {
  readonly #cursor = new CursorTrack();
  readonly #seen = new CursorTrack();
  /** A queue whose head is at #head: bound MAX_UNFINISHED, policy: let the oldest go. */
  #steps: Step[] = [];
  #head = 0;

  cursor(): Cursor | undefined {
    return this.#cursor.snapshot();
  }

  /** Start from `cursor`; what runs still no longer counts. */
  reset(cursor: Cursor): void {
    this.#steps = [];
    this.#head = 0;
    this.#cursor.reset(cursor);
    this.#seen.reset(cursor);
  }

  /** Whether a message was seen before; note that it is now. */
  repeats(position: Position): boolean {
    if (this.#seen.covers(position)) return true;
    this.#seen.advance(position);
    return false;
  }

  /** Move past a message after `work`, its handlers, and all before it. */
  handled(position: Position | undefined, work: Promise<unknown> | undefined): void {
    // An ephemeral message moves nothing, and holds back what comes after it all the same.
    this.#step(work, () => {
      if (position !== undefined) this.#cursor.advance(position);
    });
  }

  /** Take what the server says lies behind us; nothing at or before it is still to come. */
  merge(cursor: Cursor): void {
    this.#seen.merge(cursor);
    this.#step(undefined, () => {
      this.#cursor.merge(cursor);
    });
  }

  #step(work: Promise<unknown> | undefined, apply: () => void): void {
    if (work === undefined && this.#head === this.#steps.length) {
      apply(); // nothing runs: the common case allocates no step
      return;
    }
    const step: Step = { done: work === undefined, apply };
    const steps = this.#steps;
    steps.push(step);
    if (steps.length - this.#head > MAX_UNFINISHED) {
      const oldest = steps[this.#head];
      if (oldest !== undefined) oldest.done = true;
      this.#settle();
    }
    void work?.then(() => {
      step.done = true;
      if (steps === this.#steps) this.#settle();
    });
  }

  #settle(): void {
    let step = this.#steps[this.#head];
    while (step?.done === true) {
      step.apply();
      this.#head += 1;
      step = this.#steps[this.#head];
    }
    if (this.#head === this.#steps.length || this.#head > MAX_UNFINISHED) {
      this.#steps.splice(0, this.#head);
      this.#head = 0;
    }
  }
}
