/** How far a client has come in the log: the largest offset per partition. Pure. */

/** `[partition, offset]`, offsets from 1. */
export type Position = readonly [partition: number, offset: number];

/** The wire's form. A partition that is not named counts as 0. */
export interface Cursor {
  readonly epoch: string;
  readonly offsets: Readonly<Record<string, number>>;
}

/**
 * A cursor that moves. Within an epoch it never goes back; only `reset` sets it.
 *
 * A mutable map rather than new objects: it moves once per message.
 */
export class CursorTrack {
  #epoch: string | undefined;
  readonly #offsets = new Map<number, number>();

  /** An empty one of the same epoch. */
  sibling(): CursorTrack {
    const track = new CursorTrack();
    track.#epoch = this.#epoch;
    return track;
  }

  reset(cursor: Cursor): void {
    this.#epoch = cursor.epoch;
    this.#offsets.clear();
    this.#raise(cursor);
  }

  advance([partition, offset]: Position): void {
    if (offset > (this.#offsets.get(partition) ?? -1)) this.#offsets.set(partition, offset);
  }

  /** Take the larger offset per partition. Another epoch's offsets do not compare: it replaces. */
  merge(cursor: Cursor): void {
    if (cursor.epoch === this.#epoch) this.#raise(cursor);
    else this.reset(cursor);
  }

  /** Merge what another track holds. */
  follow(other: CursorTrack): void {
    if (other.#epoch !== this.#epoch) {
      this.#epoch = other.#epoch;
      this.#offsets.clear();
    }
    for (const [partition, offset] of other.#offsets) this.advance([partition, offset]);
  }

  covers([partition, offset]: Position): boolean {
    return offset <= (this.#offsets.get(partition) ?? 0);
  }

  /** Copy it into the wire's form; undefined before the first cursor from a server. */
  snapshot(): Cursor | undefined {
    if (this.#epoch === undefined) return undefined;
    const offsets: Record<string, number> = {};
    for (const [partition, offset] of this.#offsets) offsets[String(partition)] = offset;
    return { epoch: this.#epoch, offsets };
  }

  #raise(cursor: Cursor): void {
    for (const [partition, offset] of Object.entries(cursor.offsets)) {
      this.advance([Number(partition), offset]);
    }
  }
}
