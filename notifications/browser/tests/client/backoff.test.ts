import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY, type RetryAdvice, backoffDelay } from "../../src/client/backoff.ts";

const steady: RetryAdvice = { ...DEFAULT_RETRY, jitter: false };

const anyRetry = fc.record({
  maxRetries: fc.nat(),
  initialDelay: fc.double({ min: 0, max: 1e9, noNaN: true }),
  maxDelay: fc.double({ min: 0, max: 1e9, noNaN: true }),
  backoffMultiplier: fc.double({ min: 0, max: 100, noNaN: true }),
  jitter: fc.boolean(),
  strategy: fc.constantFrom("exponential", "linear", "fixed", "adaptive"),
}) satisfies fc.Arbitrary<RetryAdvice>;
const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("backoffDelay", () => {
  it.each([
    ["exponential", [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
    ["adaptive", [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
    ["linear", [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000]],
    ["fixed", [1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]],
  ] as const)("grows by the %s curve up to the cap", (strategy, delays) => {
    const retry = { ...steady, strategy };
    expect(delays.map((_, attempt) => backoffDelay(attempt, retry, 0.5))).toEqual(delays);
  });

  it.each([
    [0, 700],
    [0.5, 1_000],
    [1, 1_300],
  ])("moves by up to 30 percent: random %d gives %d ms", (random, delay) => {
    expect(backoffDelay(0, DEFAULT_RETRY, random)).toBeCloseTo(delay);
  });

  it("is 0 where it starts at 0, however far the multiplier overflows", () => {
    expect(backoffDelay(5_000, { ...steady, initialDelay: 0 }, 0.5)).toBe(0);
  });

  it("never leaves [0, maxDelay], whatever the figures", () => {
    fc.assert(
      fc.property(fc.nat(5_000), anyRetry, anyRandom, (attempt, retry, random) => {
        const delay = backoffDelay(attempt, retry, random);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(retry.maxDelay);
      }),
    );
  });
});
