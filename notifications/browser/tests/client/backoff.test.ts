/** Runs over the vectors that the Python client runs over too. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RetryPolicy, backoffDelay, waitBefore } from "../../src/client/backoff.ts";

interface Vectors {
  policy: RetryPolicy;
  rows: {
    name: string;
    attempt: number;
    random: number;
    health?: number;
    retry?: Partial<RetryPolicy>;
    delay: number;
  }[];
  retryAfter: { name: string; asked?: number; delay: number; breaker: number; waits: number }[];
}

const path = new URL("../../../../tests/vectors/backoff.json", import.meta.url);
const { policy, rows, retryAfter } = JSON.parse(readFileSync(path, "utf8")) as Vectors;

const anyRetry = fc.record({
  maxRetries: fc.nat(),
  initialDelay: fc.double({ min: 0, max: 1e9, noNaN: true }),
  maxDelay: fc.double({ min: 0, max: 1e9, noNaN: true }),
  backoffMultiplier: fc.double({ min: 0, max: 100, noNaN: true }),
  jitter: fc.boolean(),
  strategy: fc.constantFrom("exponential", "linear", "fixed", "adaptive"),
}) satisfies fc.Arbitrary<RetryPolicy>;
const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const anyHealth = fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { nil: undefined });

describe("backoffDelay", () => {
  it.each(rows)("$name", ({ attempt, random, health, retry, delay }) => {
    expect(backoffDelay(attempt, { ...policy, ...retry }, random, health)).toBeCloseTo(delay, 6);
  });

  it("never leaves [0, maxDelay], whatever the figures", () => {
    fc.assert(
      fc.property(fc.nat(5_000), anyRetry, anyRandom, anyHealth, (attempt, retry, ...rest) => {
        const delay = backoffDelay(attempt, retry, ...rest);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(retry.maxDelay);
      }),
    );
  });
});

describe("waitBefore", () => {
  it.each(retryAfter)("$name", ({ asked, delay, breaker, waits }) => {
    expect(waitBefore(asked, delay, breaker)).toBe(waits);
  });
});
