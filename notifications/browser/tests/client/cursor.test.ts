import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cursor, CursorTrack, type Position } from "../../src/client/cursor.ts";

const anyPosition = fc.tuple(
  fc.nat(3),
  fc.integer({ min: 1, max: 50 }),
) satisfies fc.Arbitrary<Position>;
const anyCursor = fc.record({
  epoch: fc.constant("x1"),
  offsets: fc.dictionary(fc.constantFrom("0", "1", "2", "3"), fc.nat(50)),
}) satisfies fc.Arbitrary<Cursor>;
const anyMove = fc.oneof(
  anyPosition.map((position) => ({ position })),
  anyCursor.map((cursor) => ({ cursor })),
);

function started(): CursorTrack {
  const track = new CursorTrack();
  track.reset({ epoch: "x1", offsets: {} });
  return track;
}

function place(track: CursorTrack, partition: number): number {
  return track.snapshot()?.offsets[String(partition)] ?? 0;
}

/** What the vectors do with a cursor, that the Python side does too. */
type Operation =
  { advance: Position } | { merge: Cursor } | { reset: Cursor } | { covers: Position; is: boolean };
interface Row {
  name: string;
  do: Operation[];
  cursor: Cursor | null;
}

const path = new URL("../../../../tests/vectors/cursors.json", import.meta.url);
const { track: rows } = JSON.parse(readFileSync(path, "utf8")) as { track: Row[] };

describe("the vectors of a cursor", () => {
  it.each(rows)("$name", (row) => {
    const track = new CursorTrack();
    for (const step of row.do) {
      if ("advance" in step) track.advance(step.advance);
      else if ("merge" in step) track.merge(step.merge);
      else if ("reset" in step) track.reset(step.reset);
      else expect(track.covers(step.covers), JSON.stringify(step)).toBe(step.is);
    }
    expect(track.snapshot() ?? null).toEqual(row.cursor);
  });
});

describe("CursorTrack", () => {
  it("has no cursor before the server gave one", () => {
    expect(new CursorTrack().snapshot()).toBeUndefined();
  });

  it("never goes back within an epoch, and ends at the maximum of each partition", () => {
    fc.assert(
      fc.property(fc.array(anyMove), (moves) => {
        const track = started();
        const highest = [0, 0, 0, 0];
        for (const move of moves) {
          const before = highest.map((_, partition) => place(track, partition));
          if ("position" in move) track.advance(move.position);
          else track.merge(move.cursor);
          for (const [partition, high] of highest.entries()) {
            const told =
              "position" in move
                ? move.position[0] === partition
                  ? move.position[1]
                  : 0
                : (move.cursor.offsets[String(partition)] ?? 0);
            highest[partition] = Math.max(high, told);
            expect(place(track, partition)).toBeGreaterThanOrEqual(before[partition] ?? 0);
          }
        }
        expect(highest.map((_, partition) => place(track, partition))).toEqual(highest);
      }),
    );
  });

  it("covers what it passed and nothing else", () => {
    const track = started();
    track.advance([0, 5]);
    expect([4, 5, 6].map((offset) => track.covers([0, offset]))).toEqual([true, true, false]);
    expect(track.covers([1, 1])).toBe(false);
  });

  it("is replaced by another epoch, whose offsets do not compare", () => {
    const track = started();
    track.advance([0, 500]);
    track.merge({ epoch: "x2", offsets: { "0": 3 } });
    expect(track.snapshot()).toEqual({ epoch: "x2", offsets: { "0": 3 } });
  });

  it("goes back when it is reset", () => {
    const track = started();
    track.advance([0, 500]);
    track.advance([1, 7]);
    track.reset({ epoch: "x1", offsets: { "0": 3 } });
    expect(track.snapshot()).toEqual({ epoch: "x1", offsets: { "0": 3 } });
  });
});
