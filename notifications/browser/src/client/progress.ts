/** Moves the cursor once the handlers of all earlier frames have finished. */
import { type Cursor, CursorTrack, type Position } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";

/** A message whose handlers run, or what lies between two of those: all of it is done. */
interface Step {
  readonly life: number;
  done: boolean;
  readonly moves: CursorTrack;
  previous: Step | undefined;
  next: Step | undefined;
}

/**
 * Two marks. *Seen* moves as frames arrive and drops what comes twice. The *cursor* moves after the
 * handlers, in the order of the frames, and is what a resume asks from: a message whose handler was
 * cut off by a crash comes again.
 *
 * Bound of the steps: two for each message that has not been handled, which others bound.
 */
export class Progress {
  readonly #cursor = new CursorTrack();
  readonly #seen = new CursorTrack();
  readonly #moved: () => void;
  /** Counts the resets: a step from before one moves nothing. */
  #life = 0;
  #first: Step | undefined;
  #last: Step | undefined;

  /** @param moved called when the cursor has. */
  constructor(moved: () => void = () => undefined) {
    this.#moved = moved;
  }

  cursor(): Cursor | undefined {
    return this.#cursor.snapshot();
  }

  /** Copy what has been seen. */
  seen(): CursorTrack {
    const copy = new CursorTrack();
    copy.follow(this.#seen);
    return copy;
  }

  /** Start from `cursor`; what runs still no longer counts. */
  reset(cursor: Cursor): void {
    this.#first = this.#last = undefined;
    this.#life += 1;
    this.#cursor.reset(cursor);
    this.#seen.reset(cursor);
    this.#moved();
  }

  /** Whether a message was seen before; note that it is now. */
  repeats(position: Position): boolean {
    if (this.#seen.covers(position)) return true;
    this.#seen.advance(position);
    return false;
  }

  /** Move past a message after its handlers, and all before it. */
  handled(position: Position | undefined, delivery: Delivery): void {
    // An ephemeral message moves nothing, and holds back what comes after it all the same.
    const note = (track: CursorTrack): void => {
      if (position !== undefined) track.advance(position);
    };
    if (delivery.isSettled) {
      this.#note(note);
      return;
    }
    const step = this.#append(false);
    note(step.moves);
    delivery.whenSettled(() => {
      if (step.life === this.#life) this.#close(step);
    });
  }

  /** Take what the server says lies behind us; nothing at or before it is still to come. */
  merge(cursor: Cursor): void {
    this.#seen.merge(cursor);
    this.#note((track) => {
      track.merge(cursor);
    });
  }

  /** Something is done: note it where all before it is done too, or behind what is not. */
  #note(note: (track: CursorTrack) => void): void {
    const last = this.#last;
    if (last === undefined) {
      note(this.#cursor);
      this.#moved();
    } else {
      note((last.done ? last : this.#append(true)).moves);
    }
  }

  #append(done: boolean): Step {
    const previous = this.#last;
    const moves = this.#seen.sibling(); // it must know its epoch: a cursor of another replaces
    const step: Step = { life: this.#life, done, moves, previous, next: undefined };
    if (previous === undefined) this.#first = step;
    else previous.next = step;
    return (this.#last = step);
  }

  #close(step: Step): void {
    step.done = true;
    const into = step.previous?.done === true ? this.#join(step.previous, step) : step;
    if (into.next?.done === true) this.#join(into, into.next);
    if (this.#first?.done !== true) return;
    this.#cursor.follow(this.#first.moves);
    this.#first = this.#first.next; // which is not done, or it would have been joined
    if (this.#first === undefined) this.#last = undefined;
    else this.#first.previous = undefined;
    this.#moved();
  }

  /** Make one of two that are done and follow each other. */
  #join(step: Step, after: Step): Step {
    step.moves.follow(after.moves);
    step.next = after.next;
    if (after.next === undefined) this.#last = step;
    else after.next.previous = step;
    return step;
  }
}
