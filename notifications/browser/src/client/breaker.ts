/** A circuit breaker: what fails again and again is left alone for a while. Pure, no clock. */
import type { Circuit, CircuitBreakerConfig } from "./types.ts";

export const DEFAULT_BREAKER: CircuitBreakerConfig = {
  failureThreshold: 5,
  resetTimeout: 30_000,
};

/**
 * Closed: everything passes. Enough failures in a row open it, and nothing should be attempted for
 * a time. The next attempt makes it half-open: its success closes the breaker, its failure opens
 * it again. Instants are milliseconds on any clock.
 */
export class Breaker {
  readonly #config: CircuitBreakerConfig;
  state: Circuit = "closed";
  #failures = 0;
  #until = 0;

  constructor(config: CircuitBreakerConfig) {
    this.#config = config;
  }

  /** Tell how long nothing should be attempted yet. */
  wait(now: number): number {
    return this.state === "open" ? Math.max(0, this.#until - now) : 0;
  }

  /** An attempt begins; the caller has looked at `wait`, or was told to try all the same. */
  pass(): void {
    if (this.state === "open") this.state = "half-open";
  }

  success(): void {
    this.state = "closed";
    this.#failures = 0;
  }

  failure(now: number): void {
    this.#failures += 1;
    if (this.state === "closed" && this.#failures < this.#config.failureThreshold) return;
    this.state = "open";
    this.#until = now + this.#config.resetTimeout;
  }
}

/** Say the worse of two states. */
export function worse(one: Circuit, other: Circuit): Circuit {
  const both = [one, other];
  return (["open", "half-open"] as const).find((state) => both.includes(state)) ?? "closed";
}
