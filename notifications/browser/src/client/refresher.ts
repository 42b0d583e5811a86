/** Gives the server a fresh token in time, so that a connection outlives the old one. */
import { unauthenticated } from "./down.ts";
import type { Cancel, Environment } from "./environment.ts";
import { waitBefore } from "./backoff.ts";
import type { Events } from "./events.ts";
import type { Link } from "./link.ts";
import type { Requests } from "./requests.ts";
import type { NotificationClientConfig } from "./types.ts";
import { within } from "./within.ts";

/** Part of a token's life after which it is replaced, if the server has not asked before. */
const LIFE = 0.9;

/** For the function that gets a token; in a connection's beginning it has as long. */
const TIMEOUT = 15_000;

export interface RefresherContext {
  readonly config: Pick<NotificationClientConfig, "auth">;
  readonly environment: Pick<Environment, "after" | "elapsed" | "random">;
  readonly events: Events;
  readonly link: Pick<Link, "retries" | "fail" | "tellCircuit">;
  readonly requests: Requests;
}

/** A failure for now is tried again until the token expires; then the server closes, with 4401. */
export class Refresher {
  readonly #context: RefresherContext;
  #timer: Cancel | undefined;
  #expiresAt = Infinity;
  #isBusy = false;
  #attempt = 0;
  /** Counts the connections: what was begun on one is nothing to the next. */
  #life = 0;

  constructor(context: RefresherContext) {
    this.#context = context;
  }

  /** A token is in force for `expiresIn` milliseconds; undefined: for ever. */
  start(expiresIn = Infinity): void {
    this.stop();
    this.#attempt = 0;
    this.#expiresAt = this.#context.environment.elapsed() + expiresIn;
    if (expiresIn !== Infinity) this.#later(expiresIn * LIFE);
  }

  stop(): void {
    this.#life += 1;
    this.#isBusy = false;
    this.#timer?.();
    this.#timer = undefined;
  }

  /** Get a token now, and send it. */
  async refresh(): Promise<void> {
    const { config, environment, link } = this.#context;
    const { auth } = config;
    if (this.#isBusy || typeof auth === "string") return; // there is no other
    this.#isBusy = true;
    this.#timer?.();
    const life = this.#life;
    const { tokens } = link.retries;
    tokens.pass();
    try {
      const token = await within(TIMEOUT, environment, auth());
      tokens.success();
      if (life === this.#life) this.#send(token);
    } catch (thrown) {
      tokens.failure(environment.elapsed());
      if (life !== this.#life) return;
      const down = unauthenticated(thrown);
      if (down.retry) this.#again(down.retryAfter);
      else link.fail(down);
    } finally {
      link.tellCircuit();
    }
  }

  #send(token: string): void {
    const { events, requests } = this.#context;
    requests.ask({ type: "refresh", token }, {
      ok: (frame) => {
        if (frame.type === "refreshed") this.start(frame.expiresIn);
      },
      refused: (error) => {
        if (error.temporary) {
          this.#again(error.retryAfter);
          return;
        }
        this.#isBusy = false; // the old token goes on until it expires
        events.emit({ type: "server_error", error });
      },
    });
  }

  #again(retryAfter: number | undefined): void {
    const { environment, link } = this.#context;
    const { retries } = link;
    const now = environment.elapsed();
    const planned = retries.delay(this.#attempt, environment.random());
    const delay = waitBefore(retryAfter, planned, retries.tokens.wait(now));
    this.#attempt += 1;
    this.#isBusy = false;
    if (now + delay < this.#expiresAt) this.#later(delay);
  }

  #later(delay: number): void {
    this.#timer = this.#context.environment.after(delay, () => {
      void this.refresh();
    });
  }
}
