/** Gives the server a fresh token in time, so that a connection outlives the old one. */
import { unauthenticated } from "./down.ts";
import type { Cancel } from "./environment.ts";
import type { ConnectionError, NotificationError } from "./errors.ts";
import { waitBefore } from "./backoff.ts";
import type { ClientFrame } from "./frames.ts";
import type { Requests } from "./requests.ts";
import type { RetryController } from "./retry.ts";

/** Part of a token's life after which it is replaced, if the server has not asked before. */
const LIFE = 0.9;

export interface RefresherContext {
  readonly requests: Requests;
  readonly retries: RetryController;
  /** Undefined: there is one token, and no other. */
  readonly auth: (() => Promise<string>) | undefined;
  send(frame: ClientFrame): void;
  after(delay: number, run: () => void): Cancel;
  elapsed(): number;
  random(): number;
  /** A breaker may have changed. */
  tried(): void;
  /** There will be no other token. */
  ended(error: ConnectionError): void;
  /** The server does not take the new token; the old one goes on until it expires. */
  refused(error: NotificationError): void;
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
    this.#expiresAt = this.#context.elapsed() + expiresIn;
    if (this.#context.auth && expiresIn !== Infinity) this.#later(expiresIn * LIFE);
  }

  stop(): void {
    this.#life += 1;
    this.#isBusy = false;
    this.#timer?.();
    this.#timer = undefined;
  }

  /** Get a token now, and send it. */
  async refresh(): Promise<void> {
    const { retries, tried, auth, elapsed, ended } = this.#context;
    if (this.#isBusy || auth === undefined) return;
    this.#isBusy = true;
    this.#timer?.();
    const life = this.#life;
    retries.tokens.pass();
    try {
      const token = await auth();
      retries.tokens.success();
      if (life === this.#life) this.#send(token);
    } catch (thrown) {
      retries.tokens.failure(elapsed());
      if (life !== this.#life) return;
      const { error, retry, retryAfter } = unauthenticated(thrown);
      if (retry) this.#again(retryAfter);
      else ended(error);
    } finally {
      tried();
    }
  }

  #send(token: string): void {
    const { requests, send, refused } = this.#context;
    const id = requests.newId();
    requests.expect(id, {
      ok: (frame) => {
        if (frame.type === "refreshed") this.start(frame.expiresIn);
      },
      refused: (error) => {
        if (error.temporary) {
          this.#again(error.retryAfter);
          return;
        }
        this.#isBusy = false;
        refused(error);
      },
      lost: () => undefined, // the next connection begins with a fresh one
    });
    send({ type: "refresh", id, token });
  }

  #again(retryAfter: number | undefined): void {
    const { elapsed, random, retries } = this.#context;
    const now = elapsed();
    const planned = retries.delay(this.#attempt, random());
    const delay = waitBefore(retryAfter, planned, retries.tokens.wait(now));
    this.#attempt += 1;
    this.#isBusy = false;
    if (now + delay < this.#expiresAt) this.#later(delay);
  }

  #later(delay: number): void {
    this.#timer = this.#context.after(delay, () => {
      void this.refresh();
    });
  }
}
