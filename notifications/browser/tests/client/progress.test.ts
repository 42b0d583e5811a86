import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { MAX_UNFINISHED, Progress } from "../../src/client/progress.ts";

const START = { epoch: "x1", offsets: { "0": 10 } };

/** A handler that ends when told. */
function work(): { promise: Promise<void>; finish: () => Promise<void> } {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return {
    promise,
    finish: async () => {
      resolve();
      await promise;
    },
  };
}

describe("Progress", () => {
  let progress: Progress;
  const place = (): number => progress.cursor()?.offsets["0"] ?? 0;

  beforeEach(() => {
    progress = new Progress();
    progress.reset(START);
  });

  it("moves at once past a message whose handlers are done", () => {
    progress.handled([0, 11], undefined);
    expect(place()).toBe(11);
  });

  it("waits for the handlers", async () => {
    const first = work();
    progress.handled([0, 11], first.promise);
    expect(place()).toBe(10);
    await first.finish();
    expect(place()).toBe(11);
  });

  it("does not pass an unfinished message, with a message or with a pong", async () => {
    const first = work();
    const second = work();
    progress.handled([0, 11], first.promise);
    progress.handled([0, 12], second.promise);
    progress.handled([0, 13], undefined);
    progress.merge({ epoch: "x1", offsets: { "0": 20 } });
    await second.finish();
    expect(place()).toBe(10);
    await first.finish();
    expect(place()).toBe(20);
  });

  it("reaches the end in whatever order handlers finish", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .integer({ min: 1, max: 8 })
          .chain((count) =>
            fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
          ),
        async (order) => {
          progress.reset(START);
          const works = order.map(work);
          for (const [index, { promise }] of works.entries()) {
            progress.handled([0, 11 + index], promise);
          }
          const finished = new Set<number>();
          for (const index of order) {
            await works[index]?.finish();
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

  it("forgets what ran before a reset", async () => {
    const old = work();
    progress.handled([0, 11], old.promise);
    progress.reset({ epoch: "x2", offsets: { "0": 3 } });
    await old.finish();
    expect(progress.cursor()).toEqual({ epoch: "x2", offsets: { "0": 3 } });
    expect(progress.repeats([0, 4])).toBe(false);
  });

  it("lets a handler that never ends hold back a bounded number of others", () => {
    const never = new Promise<void>(() => undefined);
    progress.handled([0, 11], never);
    for (let index = 1; index < MAX_UNFINISHED; index += 1) {
      progress.handled([0, 11 + index], undefined);
    }
    expect(place()).toBe(10);
    progress.handled([0, 11 + MAX_UNFINISHED], undefined);
    expect(place()).toBe(11 + MAX_UNFINISHED);
  });
});
