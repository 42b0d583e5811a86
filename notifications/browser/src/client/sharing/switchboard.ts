/**
 * What the leading tab runs: the one real connection, and for each tab a socket that behaves as
 * if it were the server.
 *
 * The server sees one client that holds what any tab subscribed to. A tab that comes back is given
 * what it missed by a `replay` from its own cursor; what is live reaches it after that. The server
 * holds live messages back while a replay goes out, so nothing fits between the two, and nothing
 * is kept in memory here.
 */
import type { Cursor } from "../cursor.ts";
import type { Cancel, Environment } from "../environment.ts";
import { split } from "../topics.ts";
import { Caller } from "./caller.ts";
import { Desk } from "./desk.ts";
import { Holdings } from "./held.ts";
import { Replays } from "./replays.ts";
import { Standing } from "./standing.ts";
import { Trunk } from "./trunk.ts";
import { type Frame, type ToLeader, type ToTab, least, parse } from "./wire.ts";

/** How long a subscription of a tab that is gone is kept: it may only reload. */
const LINGER = 10_000;
/** Requests get ids of ours, which may be longer than what a tab has counted with. */
const ID_LENGTH = 16;

export interface Line {
  readonly url: string;
  readonly protocol: string;
  /** Names the browser to the server. */
  readonly clientId: string;
}

export class Switchboard {
  readonly #environment: Environment;
  readonly #line: Line;
  readonly #trunk: Trunk;
  readonly #replays: Replays;
  readonly #holdings = new Holdings();
  readonly #standing: Standing;
  readonly #desk: Desk;
  /** By tab. */
  readonly #callers = new Map<string, Caller>();
  #acked = "";
  #sweep: Cancel | undefined;

  constructor(environment: Environment, line: Line) {
    this.#environment = environment;
    this.#line = line;
    this.#standing = new Standing(environment.now);
    this.#trunk = new Trunk(environment, {
      accepted: (welcome) => {
        this.#accepted(welcome);
      },
      frame: (frame) => {
        this.#frame(frame);
      },
      lost: (code) => {
        this.#lost(code);
      },
    });
    this.#replays = new Replays(environment, this.#trunk);
    this.#desk = new Desk({
      trunk: this.#trunk,
      replays: this.#replays,
      holdings: this.#holdings,
      standing: this.#standing,
      sendAway: (caller) => {
        this.#sendAway(caller);
      },
      acknowledged: () => {
        this.#acknowledge();
      },
      left: () => {
        this.#sweepLater(LINGER);
      },
    });
  }

  /** Take what a tab posts, and post to it. */
  hear(message: ToLeader, post: (message: ToTab) => void): void {
    const { from, line, hello, text, read } = message;
    const caller = this.#callers.get(from);
    if (hello !== undefined) {
      // It is said again to whoever takes the lead, who may have heard it already.
      if (caller === undefined || caller.line < line) this.#admit(message, hello, post);
    } else if (caller?.line === line) {
      if (read !== undefined) caller.read(read);
      if (message.closed) this.#hangUp(caller);
      else if (text !== undefined && this.#standing.welcome !== undefined) {
        for (const frame of parse(text)) this.#desk.take(caller, frame);
      }
    }
  }

  /** A tab is no more. */
  gone(tab: string): void {
    const caller = this.#callers.get(tab);
    if (caller !== undefined) this.#hangUp(caller);
    this.#environment.after(LINGER, () => {
      this.#holdings.forget(tab);
      this.#sweepLater(0);
    });
  }

  /** Lead no more: the tabs hear of it from whoever follows. */
  stop(): void {
    this.#sweep?.();
    this.#trunk.close();
  }

  // --- Tabs come and go -------------------------------------------------------------------------

  #admit({ from, line, kept }: ToLeader, hello: string, post: (message: ToTab) => void): void {
    const [auth] = parse(hello);
    if (auth === undefined) return;
    const caller = new Caller(from, line, auth, kept, post);
    const { welcome } = this.#standing;
    this.#callers.set(from, caller);
    this.#holdings.want(from, caller.wishes);
    if (welcome !== undefined) this.#greet(caller, welcome);
    else this.#connect(auth);
  }

  #connect(auth: Frame): void {
    const { resume: _resume, ...first } = auth;
    const { url, protocol, clientId } = this.#line;
    try {
      this.#trunk.open(url, protocol, { ...first, type: "auth", clientId });
    } catch {
      // Such a URL can not be opened: each tab's own attempt fails as it should.
      for (const caller of this.#callers.values()) this.#sendAway(caller);
    }
  }

  /** Answer a tab's auth as the server would. */
  #greet(caller: Caller, welcome: Frame): void {
    const resume = caller.auth["resume"] as { sessionId?: string; cursor?: Cursor } | undefined;
    // What is held no more has a gap that no replay fills: then the session is gone.
    const isWhole = this.#holdings.keepHeld(caller.wishes);
    const knows = isWhole && resume?.sessionId === caller.sessionId;
    const cursor = knows ? resume.cursor : undefined;
    if (cursor === undefined) caller.sessionId = this.#environment.newId();
    caller.place = cursor ?? this.#standing.newest();
    caller.keep();
    const limits = welcome["limits"] as { frameBytes?: number } | undefined;
    caller.give({
      ...welcome,
      id: caller.auth.id,
      sessionId: caller.sessionId,
      resumed: cursor !== undefined,
      subscriptions: this.#holdings.list(caller.wishes),
      ...(caller.place && { cursor: caller.place }),
      limits: { ...limits, frameBytes: Number(limits?.frameBytes) - ID_LENGTH },
      expiresIn: this.#standing.expiresIn,
      serverTime: this.#standing.time(),
    });
    if (cursor === undefined) caller.isLive = true;
    else this.#desk.resume(caller, cursor);
  }

  #hangUp(caller: Caller): void {
    caller.isClosed = true;
    this.#callers.delete(caller.tab);
    this.#sweepLater(LINGER);
    if (this.#callers.size > 0) return;
    this.#trunk.close();
    this.#forgetServer();
  }

  #sendAway(caller: Caller): void {
    caller.sendAway();
    this.#holdings.forget(caller.tab);
    this.#hangUp(caller);
  }

  /** Unsubscribe from what no tab wants. */
  #sweepLater(delay: number): void {
    this.#sweep?.();
    this.#sweep = this.#environment.after(delay, () => {
      if (this.#standing.welcome === undefined) return;
      for (const subscriptionId of this.#holdings.takeUnwanted()) {
        this.#trunk.ask({ type: "unsubscribe", subscriptionId }, () => undefined);
      }
    });
  }

  /** What all tabs have acknowledged, this browser has. */
  #acknowledge(): void {
    const cursor = least([...this.#callers.values()].map((caller) => caller.acked));
    const text = JSON.stringify(cursor);
    if (cursor === undefined || text === this.#acked) return;
    this.#acked = text;
    this.#trunk.send({ type: "ack", cursor });
  }

  // --- What the server says ---------------------------------------------------------------------

  #accepted(welcome: Frame): void {
    this.#standing.accepted(welcome);
    this.#holdings.reset(welcome);
    this.#sweepLater(LINGER);
    for (const caller of this.#callers.values()) this.#greet(caller, welcome);
  }

  #frame(frame: Frame): void {
    const { type, cursor, topic, subscriptionId } = frame;
    if (type === "pong" && cursor !== undefined) this.#standing.reached(cursor);
    else if (type === "message") this.#message(frame);
    else if (subscriptionId !== undefined) this.#ended(frame, subscriptionId);
    else {
      if (type === "gap" && cursor !== undefined) this.#standing.restart(cursor);
      const segments = topic === undefined ? undefined : split(topic);
      for (const caller of this.#callers.values()) {
        if (segments === undefined || caller.takes(segments)) caller.give(frame);
      }
    }
  }

  #message(frame: Frame): void {
    const text = JSON.stringify(frame);
    if (frame["replayed"] === true && this.#replays.take(frame, text, this.#standing.now())) return;
    const topic = split(frame.topic ?? "");
    for (const caller of this.#callers.values()) if (caller.takes(topic)) caller.giveText(text);
  }

  /** The server ended a subscription. */
  #ended(frame: Frame, subscriptionId: string): void {
    this.#holdings.drop(subscriptionId);
    for (const caller of this.#callers.values()) {
      if (caller.wantNoMore(subscriptionId)) caller.give(frame);
    }
  }

  #lost(code: number): void {
    this.#forgetServer();
    for (const caller of this.#callers.values()) caller.close(code);
    this.#callers.clear();
  }

  #forgetServer(): void {
    this.#standing.welcome = undefined;
    this.#acked = "";
    this.#replays.lose();
  }
}
