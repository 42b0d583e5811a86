import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Delivery } from "../../src/client/delivery.ts";
import { Progress } from "../../src/client/progress.ts";

const START = { epoch: "x1", offsets: { "0": 10 } };

const message = { id: "m", topic: "a", payload: null, timestamp: new Date(0) };

/** A message that a handler has taken, and settles when told. */
function work(): { delivery: Delivery; finish: () => void } {
  const delivery = new Delivery(message);
  delivery.take();
  return {
    delivery,
    finish: () => {
      delivery.settle();
    },
  };
}

/** One that nobody has to handle. */
function done(): Delivery {
  return new Delivery(message);
}

describe("Progress", () => {
  let progress: Progress;
  const place = (): number => progress.cursor()?.offsets["0"] ?? 0;

  beforeEach(() => {
    progress = new Progress();
    progress.reset(START);
  });

  it("moves at once past a message whose handlers are done", () => {
    progress.handled([0, 11], done());
    expect(place()).toBe(11);
  });

  it("waits for the handlers", () => {
    const first = work();
    progress.handled([0, 11], first.delivery);
    expect(place()).toBe(10);
    first.finish();
    expect(place()).toBe(11);
  });

  it("does not pass an unfinished message, with a message or with a pong", () => {
    const first = work();
    const second = work();
    progress.handled([0, 11], first.delivery);
    progress.handled([0, 12], second.delivery);
    progress.handled([0, 13], done());
    progress.merge({ epoch: "x1", offsets: { "0": 20 } });
    second.finish();
    expect(place()).toBe(10);
    first.finish();
    expect(place()).toBe(20);
  });

  it("reaches the end in whatever order handlers finish", () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 8 })
          .chain((count) =>
            fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
          ),
        (order) => {
          progress.reset(START);
          const works = order.map(work);
          for (const [index, { delivery }] of works.entries()) {
            progress.handled([0, 11 + index], delivery);
          }
          const finished = new Set<number>();
          for (const index of order) {
            works[index]?.finish();
            finished.add(index);
            let prefix = 0;
            while (finished.has(prefix)) prefix += 1;
            expect(place()).toBe(10 + prefix);
          }
        },
      ),
    );
  });

  it("knows a message that it has seen, finished or not", () => {
    expect(progress.repeats([0, 10])).toBe(true);
    expect(progress.repeats([0, 11])).toBe(false);
    expect(progress.repeats([0, 11])).toBe(true);
    expect(progress.repeats([1, 1])).toBe(false);
  });

  it("forgets what ran before a reset", () => {
    const old = work();
    progress.handled([0, 11], old.delivery);
    progress.reset({ epoch: "x2", offsets: { "0": 3 } });
    old.finish();
    expect(progress.cursor()).toEqual({ epoch: "x2", offsets: { "0": 3 } });
    expect(progress.repeats([0, 4])).toBe(false);
  });

  it("takes the epoch of a cursor that waited, and what came after it", () => {
    const [first, second] = [work(), work()];
    progress.handled([0, 11], first.delivery);
    progress.handled([0, 12], done());
    progress.merge({ epoch: "x1", offsets: { "1": 4 } });
    progress.merge({ epoch: "x2", offsets: { "0": 2 } });
    progress.handled([0, 3], second.delivery);
    progress.handled([1, 1], done());
    first.finish();
    expect(progress.cursor()).toEqual({ epoch: "x2", offsets: { "0": 2 } });
    second.finish();
    expect(progress.cursor()).toEqual({ epoch: "x2", offsets: { "0": 3, "1": 1 } });
  });

  it("keeps what several partitions moved behind an unfinished message", () => {
    const first = work();
    progress.handled([0, 11], first.delivery);
    progress.handled([0, 12], done());
    progress.merge({ epoch: "x1", offsets: { "1": 4 } });
    progress.handled([2, 7], done());
    first.finish();
    expect(progress.cursor()?.offsets).toEqual({ "0": 12, "1": 4, "2": 7 });
  });

  it("tells when the cursor moved, and only then", () => {
    const moved = vi.fn();
    progress = new Progress(moved);
    progress.reset(START);
    const first = work();
    progress.handled([0, 11], first.delivery);
    progress.handled([0, 12], done());
    expect(moved).toHaveBeenCalledTimes(1);
    first.finish();
    expect(moved).toHaveBeenCalledTimes(2);
  });
});
