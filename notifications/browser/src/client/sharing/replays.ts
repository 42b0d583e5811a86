/** Replays for the tabs of a browser: one after the other, as the server has it. */
import type { Environment } from "../environment.ts";
import { matches, split } from "../topics.ts";
import type { Caller } from "./caller.ts";
import type { Trunk } from "./trunk.ts";
import type { Frame } from "./wire.ts";

/** Wait before asking again, when the server names no time. */
const ASK_AGAIN = 1_000;

export interface Replay {
  readonly caller: Caller;
  /** What the server is asked: a `replay`, or a `subscribe` that replays. */
  readonly frame: Frame;
  /** The one topic or pattern that is asked for; all of the caller's when absent. */
  readonly only?: string | undefined;
  /** Hear `subscribed`, a refusal, and `replay_complete`, which is the last. */
  answered(reply: Frame): void;
}

export class Replays {
  readonly #environment: Environment;
  readonly #trunk: Trunk;
  /** The first one goes out. Bound and policy: the desk's. */
  #waiting: Replay[] = [];
  #count = 0;

  constructor(environment: Environment, trunk: Trunk) {
    this.#environment = environment;
    this.#trunk = trunk;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(replay: Replay): void {
    if (this.#waiting.push(replay) === 1) this.#ask(replay);
  }

  /** The connection is gone, and with it all who waited. */
  lose(): void {
    this.#waiting = [];
  }

  /** Take a replayed message to whom it is for; false when no replay has asked for it. */
  take(text: string, topic: string): boolean {
    const [replay] = this.#waiting;
    if (replay === undefined) return false;
    const { caller, only } = replay;
    const segments = split(topic);
    if (only !== undefined && !matches(split(only), segments)) return false;
    // One that this tab does not want belongs to its replay all the same: the others had it live.
    if (caller.wants(segments)) {
      this.#count += 1;
      caller.giveText(text);
    }
    return true;
  }

  #ask(replay: Replay): void {
    this.#count = 0;
    replay.caller.isReplaying = true;
    this.#trunk.ask(replay.frame, (reply) => this.#answered(replay, reply));
  }

  #answered(replay: Replay, reply: Frame): boolean {
    if (reply.code === "RATE_LIMITED" && replay.caller.isOpen) {
      this.#environment.after(Number(reply["retryAfter"] ?? ASK_AGAIN), () => {
        if (this.#waiting[0] === replay) this.#ask(replay);
      });
      return false;
    }
    const isOver = reply.type !== "subscribed";
    if (isOver) {
      replay.caller.isReplaying = false;
      this.#waiting.shift();
    }
    replay.answered(reply.type === "replay_complete" ? { ...reply, count: this.#count } : reply);
    const [next] = this.#waiting;
    if (isOver && next !== undefined) this.#ask(next);
    return !isOver;
  }
}
