/** How long to wait before a retry. Pure: randomness is an argument. */
import type { RetryConfig } from "./types.ts";

/** A complete policy: a RetryConfig that names its curve. */
export type RetryPolicy = RetryConfig & { readonly strategy: RetryStrategy };

export type RetryStrategy = "exponential" | "linear" | "fixed" | "adaptive";

export const DEFAULT_RETRY: RetryPolicy = {
  maxRetries: 10,
  initialDelay: 1_000,
  maxDelay: 30_000,
  backoffMultiplier: 2,
  jitter: true,
  strategy: "exponential",
};

/** Part of the delay by which jitter moves it, either way. */
const JITTER = 0.3;
/** A server that says it is worse than this is waited for ten times as long, not longer. */
const LEAST_HEALTH = 0.1;
/** The longest wait that a server may ask for. */
const MAX_RETRY_AFTER = 3_600_000;

/**
 * Compute the delay before retry `attempt` (0 is the first retry), in [0, maxDelay] milliseconds.
 *
 * @param random in [0, 1), as Math.random gives it.
 * @param health what the server said of itself, in (0, 1]; `adaptive` waits longer for less.
 */
export function backoffDelay(
  attempt: number,
  retry: RetryPolicy,
  random: number,
  health = 1,
): number {
  const base = Math.min(baseDelay(attempt, retry, health), retry.maxDelay);
  const jittered = retry.jitter ? base + base * JITTER * (random * 2 - 1) : base;
  return Math.max(0, Math.min(jittered, retry.maxDelay));
}

/**
 * Compute what is waited in the end.
 *
 * @param asked the server's wish, which wins over `delay`.
 * @param closed how long a circuit breaker lets nothing pass.
 */
export function waitBefore(asked: number | undefined, delay: number, closed: number): number {
  return Math.max(asked === undefined ? delay : Math.min(asked, MAX_RETRY_AFTER), closed);
}

function baseDelay(attempt: number, retry: RetryPolicy, health: number): number {
  const { strategy, initialDelay } = retry;
  if (strategy === "fixed") return initialDelay;
  if (strategy === "linear") return initialDelay * (attempt + 1);
  // The power overflows to Infinity, which the cap absorbs, but 0 * Infinity is no number.
  const delay = initialDelay && initialDelay * retry.backoffMultiplier ** attempt;
  return strategy === "adaptive" ? delay / Math.min(1, Math.max(LEAST_HEALTH, health)) : delay;
}
