/** Moves the cursor once the handlers of all earlier frames have finished. */
import { type Cursor, CursorTrack, type Position } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";

/** How far handlers are in a replay, which was not of what lies behind the cursor. */
export class Place extends CursorTrack {
  /** How many of its messages have not been handled. */
  running = 0;
}

/** A message whose handlers run, with what came behind it and is done. */
interface Step {
  readonly life: number;
  readonly moves: CursorTrack;
  previous: Step | undefined;
  next: Step | undefined;
}

/**
 * Two marks. *Seen* moves as frames arrive and drops what comes twice. The *cursor* moves after the
 * handlers, in the order of the frames, and is what a resume asks from: a message whose handler was
 * cut off by a crash comes again.
 *
 * Bound of the steps: one for each message that has not been handled, which others bound.
 */
export class Progress {
  readonly #cursor = new CursorTrack();
  readonly #seen = new CursorTrack();
  readonly #moved: () => void;
  /** Counts the resets: a step from before one moves nothing. */
  #life = 0;
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
    this.#last = undefined;
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

  /**
   * Move past a message after its handlers, and all before it.
   *
   * @param place moves with it, of the replay that brought it.
   */
  handled(position: Position | undefined, delivery: Delivery, place?: Place): void {
    // An ephemeral message moves nothing, and holds back what comes after it all the same.
    const note = (track: CursorTrack): void => {
      if (position !== undefined) track.advance(position);
    };
    if (delivery.isSettled) {
      if (place !== undefined) note(place);
      this.#note(note);
      return;
    }
    const previous = this.#last;
    const moves = this.#seen.sibling(); // it must know its epoch: a cursor of another replaces
    const step: Step = { life: this.#life, moves, previous, next: undefined };
    if (previous !== undefined) previous.next = step;
    this.#last = step;
    note(moves);
    if (place !== undefined) place.running += 1;
    delivery.whenSettled(() => {
      if (place !== undefined) {
        place.running -= 1;
        note(place);
      }
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

  /** Something is done: note it where all before it is done too, or with what is not. */
  #note(note: (track: CursorTrack) => void): void {
    note(this.#last?.moves ?? this.#cursor);
    if (this.#last === undefined) this.#moved();
  }

  /** Take a step out: what it moves waits for the one before it, where there is one. */
  #close({ previous, next, moves }: Step): void {
    (previous?.moves ?? this.#cursor).follow(moves);
    if (previous !== undefined) previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    if (previous === undefined) this.#moved();
  }
}
