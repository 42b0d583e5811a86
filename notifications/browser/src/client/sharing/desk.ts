/** Answers what tabs ask: from what the switchboard has, or by asking the server. */
import { CloseCode } from "../codes.ts";
import type { Cursor } from "../cursor.ts";
import type { Caller } from "./caller.ts";
import type { Holdings } from "./held.ts";
import type { Replays } from "./replays.ts";
import type { Standing } from "./standing.ts";
import type { Trunk } from "./trunk.ts";
import { type Frame, isBehind } from "./wire.ts";

export interface DeskContext {
  readonly trunk: Trunk;
  readonly replays: Replays;
  readonly holdings: Holdings;
  readonly standing: Standing;
  /** Let a tab that wants what can not be shared open a socket of its own. */
  sendAway(caller: Caller): void;
  /** A tab has acknowledged more. */
  acknowledged(): void;
  /** The server holds what perhaps nobody wants. */
  left(): void;
}

export class Desk {
  readonly #context: DeskContext;

  constructor(context: DeskContext) {
    this.#context = context;
  }

  /** Carry out one frame of a tab. */
  take(caller: Caller, frame: Frame): void {
    switch (frame.type) {
      case "ping":
        this.#pong(caller, frame);
        break;
      case "ack":
        caller.place = caller.acked = frame.cursor;
        this.#context.acknowledged();
        break;
      case "subscribe":
        this.#subscribe(caller, frame);
        break;
      case "unsubscribe":
        this.#unsubscribe(caller, frame);
        break;
      case "replay":
        this.#replay(caller, frame);
        break;
      case "auth":
        caller.refuse(frame, "BAD_FRAME", "The connection is authenticated.");
        break;
      default:
        this.#context.trunk.ask(frame, (reply) => {
          if (reply.type === "refreshed") this.#context.standing.expires(reply);
          caller.give(reply);
        });
    }
  }

  /** Give a tab what it missed after its cursor, and from then on what is live. */
  resume(caller: Caller, cursor: Cursor): void {
    const { standing, replays } = this.#context;
    const [subscriptionId, another] = caller.wishes.keys();
    if (subscriptionId === undefined) {
      const here = standing.known() ?? cursor;
      this.#resumed(caller, { type: "replay_complete", recovered: true, count: 0, cursor: here });
      return;
    }
    const frame = { type: "replay", cursor, ...(another === undefined && { subscriptionId }) };
    replays.add({
      caller,
      frame,
      resumes: true,
      answered: (reply) => {
        if (reply.type === "error") caller.close(CloseCode.TRY_AGAIN_LATER);
        else if (this.#isBlamedOnOthers(caller, frame, reply)) this.#context.sendAway(caller);
        else this.#resumed(caller, reply);
      },
    });
  }

  #resumed(caller: Caller, reply: Frame): void {
    caller.isLive = true;
    this.#complete(caller, { ...reply, id: undefined });
  }

  #complete(caller: Caller, reply: Frame): void {
    if (reply.cursor !== undefined) this.#context.standing.reached(reply.cursor);
    caller.give(reply);
  }

  /** The server's last pong speaks for all that came before it, but not for what one missed. */
  #pong(caller: Caller, frame: Frame): void {
    const { standing, trunk } = this.#context;
    const known = standing.known();
    const isBehindOthers = caller.isReplaying || !caller.isLive;
    const cursor = known && (isBehindOthers ? { ...known, offsets: {} } : known);
    caller.give({ ...frame, type: "pong", serverTime: standing.time(), ...(cursor && { cursor }) });
    trunk.probe();
  }

  // --- Subscriptions ----------------------------------------------------------------------------

  #subscribe(caller: Caller, frame: Frame): void {
    const { topic = "" } = frame;
    const { filter, batch, since, ...wish } = (frame["options"] ?? {}) as Record<string, unknown>;
    const from = since ?? (wish["replayMissed"] === true ? caller.place : undefined);
    const held = this.#context.holdings.to(topic);
    if (filter !== undefined || batch !== undefined) {
      this.#context.sendAway(caller); // it would change what other tabs get, or when
    } else if (held === undefined) {
      this.#ask(caller, frame, wish, from);
    } else if (caller.wishes.has(held.subscriptionId)) {
      const data = { subscriptionId: held.subscriptionId };
      caller.refuse(frame, "ALREADY_SUBSCRIBED", "This client is subscribed already.", { data });
    } else if (from !== undefined && !isBehind(held.begin, from as Cursor)) {
      this.#context.sendAway(caller); // a replay would begin where another tab's wish began
    } else {
      const { subscriptionId, createdAt } = held;
      const cursor = this.#context.standing.newest();
      const { id } = frame;
      caller.want(subscriptionId, { topic, options: wish });
      caller.give({
        ...{ type: "subscribed", id, subscriptionId, topic, createdAt },
        ...(cursor && { cursor }),
      });
      if (from !== undefined) {
        this.#replay(caller, { type: "replay", id, cursor: from as Cursor, subscriptionId });
      }
    }
  }

  /** Ask the server for a subscription; `since`: from where on. */
  #ask(caller: Caller, frame: Frame, options: object, since: unknown): void {
    const { id, topic = "" } = frame;
    const { trunk, replays, holdings } = this.#context;
    const answered = (reply: Frame): void => {
      if (reply.type === "subscribed") {
        holdings.add(reply, since !== undefined);
        if (reply.cursor !== undefined) this.#context.standing.saw(reply.cursor);
        caller.want(String(reply.subscriptionId), { topic, options });
        if (caller.isClosed) this.#context.left();
        caller.give(reply);
      } else if (reply["code"] === "ALREADY_SUBSCRIBED") {
        this.#adopt(topic, reply);
        if (!caller.isClosed) this.#subscribe(caller, frame);
      } else if (reply["code"] === "LIMIT_SUBSCRIPTIONS" && this.#hasOthers(caller)) {
        this.#context.sendAway(caller);
      } else this.#complete(caller, reply);
    };
    const request = { type: "subscribe", id, topic };
    if (since === undefined) trunk.ask(request, answered);
    else replays.add({ caller, frame: { ...request, options: { since } }, only: topic, answered });
  }

  /** Another tab asked at the same time, or the server holds it from before. */
  #adopt(topic: string, refusal: Frame): void {
    const { holdings, standing } = this.#context;
    const cursor = standing.newest();
    if (holdings.to(topic) !== undefined || cursor === undefined) return;
    const { subscriptionId } = refusal["data"] as { subscriptionId: string };
    const createdAt = standing.time();
    holdings.add({ type: "subscribed", subscriptionId, topic, createdAt, cursor }, false);
  }

  #unsubscribe(caller: Caller, frame: Frame): void {
    const { id, subscriptionId = "" } = frame;
    const { holdings, trunk } = this.#context;
    if (!caller.wantNoMore(subscriptionId)) {
      caller.refuse(frame, "UNKNOWN_SUBSCRIPTION", "This client has no such subscription.");
    } else if (holdings.isWanted(subscriptionId)) {
      caller.give({ type: "unsubscribed", id, subscriptionId });
    } else {
      holdings.drop(subscriptionId);
      trunk.ask(frame, (reply) => {
        caller.give(reply);
      });
    }
  }

  // --- Replays ----------------------------------------------------------------------------------

  #replay(caller: Caller, frame: Frame): void {
    const { cursor, subscriptionId } = frame;
    const only = caller.wishes.get(subscriptionId ?? "")?.topic;
    if (subscriptionId !== undefined && only === undefined) {
      caller.refuse(frame, "UNKNOWN_SUBSCRIPTION", "This client has no such subscription.");
    } else if (cursor !== undefined && this.#isOutOfReach(caller, cursor, only)) {
      this.#context.sendAway(caller);
    } else {
      this.#context.replays.add({
        caller,
        frame,
        only,
        answered: (reply) => {
          if (this.#isBlamedOnOthers(caller, frame, reply)) this.#context.sendAway(caller);
          else this.#complete(caller, reply);
        },
      });
    }
  }

  /** Whether a replay on this connection would leave out what the subscription itself covers. */
  #isOutOfReach(caller: Caller, cursor: Cursor, only: string | undefined): boolean {
    return [...caller.wishes.values()].some(({ topic }) => {
      const held = this.#context.holdings.to(topic);
      if (held?.reachesBack !== true || (only ?? topic) !== topic) return false;
      return !isBehind(held.begin, cursor);
    });
  }

  /** Whether a replay may have failed for the sake of what only other tabs want. */
  #isBlamedOnOthers(caller: Caller, { subscriptionId }: Frame, reply: Frame): boolean {
    if (reply["recovered"] !== false || subscriptionId !== undefined) return false;
    return /^(TOO|BEY)/.test(String(reply["reason"])) && this.#hasOthers(caller);
  }

  #hasOthers(caller: Caller): boolean {
    return this.#context.holdings.size > caller.wishes.size;
  }
}
