/** The retry controller: whether and when to try again, and what failed so far. Pure, no clock. */
import { DEFAULT_RETRY, type RetryPolicy, backoffDelay, waitBefore } from "./backoff.ts";
import { Breaker, DEFAULT_BREAKER, worse } from "./breaker.ts";
import type { Down } from "./down.ts";
import type { Circuit, CircuitBreakerConfig, Failure, RetryConfig } from "./types.ts";

/** A connection that lived this long was a success: the count of failures begins anew. */
const STABLE = 5_000;
/** How many failures are remembered; the oldest gives way. */
const REMEMBERED = 20;

/** When to try again. */
export interface Plan {
  readonly delay: number;
  /** Whether somebody named the time, the server or a breaker: only the application hurries. */
  readonly told: boolean;
}

export class RetryController {
  /** Around the function that gets a token. */
  readonly tokens: Breaker;
  /** Around the attempt to connect, from the opening of the socket to `auth_success`. */
  readonly connects: Breaker;
  readonly failures: Failure[] = [];
  /** The number of the retry that is waited for or made; 0 at first. */
  attempt = 0;
  /** What the server said of itself last. */
  health: number | undefined;
  readonly #own: RetryPolicy | undefined;
  #pushed = DEFAULT_RETRY;

  constructor(
    config: RetryConfig | undefined,
    breakerConfig: Partial<CircuitBreakerConfig> | undefined,
  ) {
    this.#own = config && { ...DEFAULT_RETRY, ...config };
    const breaker = { ...DEFAULT_BREAKER, ...breakerConfig };
    this.tokens = new Breaker(breaker);
    this.connects = new Breaker(breaker);
  }

  get circuit(): Circuit {
    return worse(this.tokens.state, this.connects.state);
  }

  /** Take the policy that the server pushed; undefined: it has none. */
  push(policy: (RetryPolicy & { readonly health?: number }) | undefined): void {
    this.#pushed = policy ?? DEFAULT_RETRY;
    this.health = policy?.health;
  }

  /** Compute the policy's delay before retry `attempt`, from 0. */
  delay(attempt: number, random: number): number {
    return backoffDelay(attempt, this.#own ?? this.#pushed, random, this.health);
  }

  /**
   * Note a failure, and plan the next attempt; undefined when retries are spent.
   *
   * @param now on the clock of the breakers. `at`: the same as a date.
   * @param lived how long the connection lived, when one was lost.
   */
  failed(down: Down, now: number, at: Date, lived: number, random: number): Plan | undefined {
    const { error, retryAfter } = down;
    if (lived >= STABLE) this.attempt = 0;
    const { closeCode, reason, message } = error;
    this.failures.push({
      at,
      reason,
      message,
      attempt: this.attempt,
      ...(closeCode === undefined ? {} : { closeCode }),
    });
    if (this.failures.length > REMEMBERED) this.failures.shift();
    if (!down.own) this.attempt += 1;
    const { maxRetries } = this.#own ?? this.#pushed;
    if (maxRetries > 0 && this.attempt > maxRetries) return undefined;
    const closed = Math.max(this.tokens.wait(now), this.connects.wait(now));
    const delay = this.delay(Math.max(0, this.attempt - 1), random);
    return {
      delay: waitBefore(retryAfter, delay, closed),
      told: retryAfter !== undefined || closed > 0,
    };
  }
}
