/** Answers what tabs ask: from what the switchboard knows, or by asking the server. */
import { CloseCode } from "../codes.ts";
import type { Cursor } from "../cursor.ts";
import type { Caller } from "./caller.ts";
import type { Holdings } from "./holdings.ts";
import type { Replays } from "./replays.ts";
import type { Trunk } from "./trunk.ts";
import { type Frame, isBehind } from "./wire.ts";

/** Replays that may wait. Policy: over it, a tab asks on a socket of its own. */
const MAX_WAITING = 100;

/** The switchboard, as the desk uses it. */
export interface Board {
  readonly trunk: Trunk;
  readonly replays: Replays;
  readonly holdings: Holdings;
  /** Let a tab that wants what can not be shared open a socket of its own. */
  sendAway(caller: Caller): void;
  acknowledge(): void;
  /** The server has this tab's token now. */
  refreshed(caller: Caller, reply: Frame): void;
  /** Unsubscribe from what no tab wants; `only`: from this, if so. */
  unsubscribe(only?: string): void;
  /** The same of everything, a while later. */
  sweepLater(): void;
}

export class Desk {
  readonly #board: Board;

  constructor(board: Board) {
    this.#board = board;
  }

  /** Carry out one frame of a tab. */
  take(caller: Caller, frame: Frame): void {
    switch (frame.type) {
      case "ping":
        this.#pong(caller, frame);
        break;
      case "ack":
        caller.place = caller.acked = frame.cursor;
        this.#board.acknowledge();
        break;
      case "subscribe":
        this.#subscribe(caller, frame);
        break;
      case "unsubscribe":
        caller.want(String(frame.subscriptionId));
        caller.give({ ...frame, type: "unsubscribed" });
        this.#board.unsubscribe(String(frame.subscriptionId));
        break;
      case "replay":
        this.#replay(caller, frame);
        break;
      default:
        this.#board.trunk.ask(frame, (reply) => {
          if (reply.type === "refreshed") this.#board.refreshed(caller, reply);
          caller.give(reply);
        });
    }
  }

  /** Give a tab what it missed after its cursor, and from then on what is live. */
  resume(caller: Caller, cursor: Cursor): void {
    const [subscriptionId, another] = caller.wishes.keys();
    const resumed = (reply: Frame): void => {
      if (reply.type === "error") caller.close(CloseCode.TRY_AGAIN_LATER);
      caller.isLive = true;
      caller.give({ ...reply, id: undefined });
    };
    const only = another === undefined && { subscriptionId };
    const frame = { type: "replay", cursor, ...only } as Frame;
    if (subscriptionId !== undefined) this.#queue(caller, frame, resumed);
    else resumed({ type: "replay_complete", recovered: true, count: 0, cursor });
  }

  /**
   * The server's last pong speaks for all that came before it, but not for what one missed. The way
   * to the server counts as this tab's: it was asked so much earlier.
   */
  #pong(caller: Caller, frame: Frame): void {
    const { holdings, trunk } = this.#board;
    const known = holdings.known.snapshot() as Cursor;
    const isLevel = caller.isLive && !caller.isReplaying;
    const cursor = isLevel ? known : { ...known, offsets: {} };
    caller.give({ type: "pong", t: Math.max(0, Number(frame["t"]) - trunk.latency), cursor });
    trunk.probe();
  }

  #subscribe(caller: Caller, frame: Frame): void {
    const { id, topic = "" } = frame;
    const { filter, batch, since, replayMissed, maxReplayAge } = (frame["options"] ??
      {}) as Record<string, unknown>;
    const from = (since ?? (replayMissed === true ? caller.place : undefined)) as Cursor | undefined;
    const { holdings } = this.#board;
    const held = holdings.to(topic);
    if (held === undefined && filter === undefined && batch === undefined) {
      this.#ask(caller, frame, { since: from, maxReplayAge });
    } else if (
      held === undefined ||
      filter !== undefined ||
      batch !== undefined ||
      held.options.maxReplayAge !== maxReplayAge ||
      (from !== undefined && !isBehind(held.begin as Cursor, from))
    ) {
      // It would change what other tabs get, or begin where another's wish began.
      this.#board.sendAway(caller);
    } else {
      const { subscriptionId, createdAt } = held;
      const cursor = holdings.newest.snapshot() as Cursor;
      caller.want(subscriptionId, topic);
      caller.give({ type: "subscribed", id, subscriptionId, topic, createdAt, cursor });
      if (from !== undefined) {
        this.#replay(caller, { type: "replay", id, cursor: from, subscriptionId, maxReplayAge });
      }
    }
  }

  /** Ask the server for a subscription. */
  #ask(caller: Caller, frame: Frame, options: { since: unknown; maxReplayAge: unknown }): void {
    const { id, topic = "" } = frame;
    const { trunk, holdings } = this.#board;
    const reachesBack = options.since !== undefined;
    const answered = (reply: Frame): void => {
      const { subscriptionId = "", createdAt, cursor: begin } = reply;
      if (reply.type === "subscribed") {
        holdings.add({ subscriptionId, topic, createdAt, options, begin, reachesBack });
        caller.want(subscriptionId, topic);
        this.#board.sweepLater(); // the tab may have gone meanwhile
      }
      // Another tab asked at the same time.
      if (reply.code === "ALREADY_SUBSCRIBED" && holdings.to(topic) !== undefined) {
        this.#subscribe(caller, frame);
      } else this.#answer(caller, reply);
    };
    const request = { type: "subscribe", id, topic, options };
    if (reachesBack) this.#queue(caller, request, answered, topic);
    else trunk.ask(request, answered);
  }

  #replay(caller: Caller, frame: Frame): void {
    const only = caller.wishes.get(String(frame.subscriptionId));
    const held = this.#board.holdings.to(only);
    // On this connection the server would leave out what the subscription itself covers.
    const isOutOfReach =
      held?.reachesBack === true && !isBehind(held.begin as Cursor, frame.cursor as Cursor);
    if (isOutOfReach) this.#board.sendAway(caller);
    else this.#queue(caller, frame, (reply) => this.#answer(caller, reply), only);
  }

  #queue(caller: Caller, frame: Frame, answered: (reply: Frame) => void, only?: string): void {
    const { replays } = this.#board;
    if (replays.waiting > MAX_WAITING) this.#board.sendAway(caller);
    else {
      replays.add({
        caller,
        frame,
        only,
        answered: (reply) => {
          if (reply.type === "replay_complete") this.#board.holdings.reached(reply.cursor);
          if (!this.#isForOthers(caller, reply)) answered(reply);
          else this.#board.sendAway(caller);
        },
      });
    }
  }

  #answer(caller: Caller, reply: Frame): void {
    if (this.#isForOthers(caller, reply)) this.#board.sendAway(caller);
    else caller.give(reply);
  }

  /** Whether a request may be refused for the sake of what only other tabs want. */
  #isForOthers(caller: Caller, { code, reason }: Frame): boolean {
    const hasOthers = this.#board.holdings.size > caller.wishes.size;
    return hasOthers && /^(LIMIT_S|TOO_M|BEYOND)/.test(String(reason ?? code));
  }
}
