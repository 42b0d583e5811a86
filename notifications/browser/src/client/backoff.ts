/** How long to wait before a retry. Pure: randomness is an argument. */
import type { RetryConfig } from "./types.ts";

export type RetryStrategy = "exponential" | "linear" | "fixed" | "adaptive";

/** The server's advice: a RetryConfig and the curve. `adaptive` waits exponentially here. */
export interface RetryAdvice extends RetryConfig {
  readonly strategy: RetryStrategy;
}

export const DEFAULT_RETRY: RetryAdvice = {
  maxRetries: 10,
  initialDelay: 1_000,
  maxDelay: 30_000,
  backoffMultiplier: 2,
  jitter: true,
  strategy: "exponential",
};

/** Part of the delay by which jitter moves it, either way. */
const JITTER = 0.3;

/**
 * Compute the delay before retry `attempt` (0 is the first retry), in [0, maxDelay] milliseconds.
 *
 * @param random in [0, 1), as Math.random gives it.
 */
export function backoffDelay(attempt: number, retry: RetryAdvice, random: number): number {
  const base = Math.min(baseDelay(attempt, retry), retry.maxDelay);
  const jittered = retry.jitter ? base + base * JITTER * (random * 2 - 1) : base;
  return Math.max(0, Math.min(jittered, retry.maxDelay));
}

function baseDelay(attempt: number, retry: RetryAdvice): number {
  switch (retry.strategy) {
    case "fixed":
      return retry.initialDelay;
    case "linear":
      return retry.initialDelay * (attempt + 1);
    case "exponential":
    case "adaptive":
      // The power overflows to Infinity, which the cap absorbs, but 0 * Infinity is no number.
      return retry.initialDelay === 0 ? 0 : retry.initialDelay * retry.backoffMultiplier ** attempt;
  }
}
