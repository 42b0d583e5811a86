/** The replays that this client has asked for, or will: one at a time on a connection. */
import type { CursorTrack } from "./cursor.ts";
import type { Delivery } from "./delivery.ts";
import type { Cancel, Environment } from "./environment.ts";
import type { NotificationError } from "./errors.ts";
import type { ClientFrame, ReplayComplete, Subscribed } from "./frames.ts";
import type { Place } from "./progress.ts";
import type { Requests, Unnumbered } from "./requests.ts";
import type { Segments } from "./topics.ts";

/** Wait before asking again, when the server names no time. */
export const ASK_AGAIN = 1_000;

/**
 * A replay that somebody waits for. It outlives the connection: cut off, it is asked for again, and
 * `brought` keeps what has come already from coming twice.
 */
export interface Owed {
  /** Who gets it, and what topics that can be; absent: all subscriptions. */
  readonly target?: { deliver(delivery: Delivery, asked: boolean): void } | undefined;
  readonly segments?: Segments;
  /** Whether it makes up for a session that is gone: like a resume, it brings what was not seen. */
  readonly isOwn?: boolean;
  readonly brought: CursorTrack;
  /** How far its handlers are in it: after a reload it goes on from here. Absent: it does not. */
  readonly place?: Place;
  /** Whether nobody waits for it any more. */
  isOver?: boolean;
  /** Make the request; undefined when nobody wants it any more. */
  ask(): Unnumbered<ClientFrame> | undefined;
  /** The request was a `subscribe`, and this its answer, before the replay begins. */
  subscribed?(frame: Subscribed): void;
  /** All of it has come, or (`recovered` false) none of it will. */
  done(frame: ReplayComplete): void;
  /** The server refuses it; true: ask again after a while. */
  refused(error: NotificationError): boolean;
  /** Wait for it no longer. */
  giveUp(): void;
  /** No connection will follow; absent: that can wait for the next `connect`. */
  abandon?(error: Error): void;
}

export interface ReplaysContext {
  readonly environment: Pick<Environment, "after">;
  readonly requests: Requests;
}

/** Bound: one for each subscription, and those that the application waits for. In their order. */
export class Replays {
  readonly #context: ReplaysContext;
  #waiting: Owed[] = [];
  /** What is being replayed. */
  current: Owed | undefined;
  /** Whether there is a connection, and nothing else is being replayed on it. */
  #isOpen = false;
  #pause: Cancel | undefined;

  constructor(context: ReplaysContext) {
    this.#context = context;
  }

  /** One that waits already keeps its place. */
  add(owed: Owed): void {
    if (owed !== this.current && !this.#waiting.includes(owed)) this.#waiting.push(owed);
    this.#next();
  }

  /** Nobody wants it any more. What runs already runs to its end: then the answer is false. */
  forget(owed: Owed): boolean {
    owed.isOver = true;
    this.#waiting = this.#waiting.filter((other) => other !== owed);
    return owed !== this.current;
  }

  /** A connection is there, and no replay on it. @param own goes first. */
  open(own?: Owed): void {
    this.#isOpen = true;
    if (own !== undefined) this.#waiting.unshift(own);
    this.#next();
  }

  /** The connection is gone: what it cut off goes first on the next. */
  suspend(): void {
    this.#isOpen = false;
    this.#pause?.();
    this.#pause = undefined;
    if (this.current !== undefined) this.#waiting.unshift(this.current);
    this.current = undefined;
    // The next connection resumes, or makes its own anew.
    this.#waiting = this.#waiting.filter(({ isOwn }) => isOwn !== true);
  }

  /** No connection will follow: whoever waits by himself is told. */
  abandon(error: Error): void {
    for (const owed of [...this.#waiting]) {
      if (owed.abandon === undefined) continue;
      this.forget(owed);
      owed.abandon(error);
    }
  }

  #next(): void {
    while (this.#isOpen && this.current === undefined && this.#pause === undefined) {
      const owed = this.#waiting.shift();
      if (owed === undefined) return;
      const request = owed.isOver === true ? undefined : owed.ask();
      if (request !== undefined) this.#start(owed, request);
    }
  }

  #start(owed: Owed, request: Unnumbered<ClientFrame>): void {
    this.current = owed;
    this.#context.requests.ask(request, {
      ok: (answer) => {
        if (answer.type === "subscribed") {
          owed.subscribed?.(answer);
          return true; // its replay_complete follows
        }
        if (answer.type !== "replay_complete") return false;
        this.current = undefined;
        if (owed.isOver !== true) owed.done(answer);
        this.#next();
        return false;
      },
      refused: (error) => {
        const isAgain = owed.refused(error);
        this.current = undefined;
        if (isAgain) this.#later(owed, error.retryAfter ?? ASK_AGAIN);
        this.#next();
      },
    });
  }

  #later(owed: Owed, delay: number): void {
    this.#waiting.unshift(owed);
    this.#pause = this.#context.environment.after(delay, () => {
      this.#pause = undefined;
      this.#next();
    });
  }
}
