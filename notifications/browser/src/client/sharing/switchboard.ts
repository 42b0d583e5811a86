/**
 * What the leading tab runs: the one real connection, and for each tab a socket that behaves as
 * if it were the server.
 *
 * The server sees one client that holds what any tab subscribed to. A tab that comes back is given
 * what it missed by a `replay` from its own cursor; what is live reaches it after that. The server
 * holds live messages back while a replay goes out, so nothing fits between the two, and nothing
 * is kept in memory here.
 */
import { CloseCode } from "../codes.ts";
import type { Cursor, Position } from "../cursor.ts";
import type { Cancel, Environment } from "../environment.ts";
import { split } from "../topics.ts";
import { Caller } from "./caller.ts";
import { type Board, Desk } from "./desk.ts";
import { type Held, Holdings } from "./holdings.ts";
import { Replays } from "./replays.ts";
import { Trunk, type TrunkEvents } from "./trunk.ts";
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

export class Switchboard implements Board, TrunkEvents {
  readonly trunk: Trunk;
  readonly replays: Replays;
  readonly holdings = new Holdings();
  readonly #environment: Environment;
  readonly #line: Line;
  readonly #desk = new Desk(this);
  /** By tab; one whose socket is closed may come back. */
  readonly #callers = new Map<string, Caller>();
  /** The server's auth_success, while there is a connection. */
  #welcome: Frame | undefined;
  /** Whose token the server has, or is looking at. */
  #bearer: Caller | undefined;
  #expiresAt = 0;
  #acked: string | undefined;
  #sweep: Cancel | undefined;

  constructor(environment: Environment, line: Line) {
    this.#environment = environment;
    this.#line = line;
    this.trunk = new Trunk(environment, this);
    this.replays = new Replays(environment, this.trunk);
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
      for (const frame of text === undefined ? [] : parse(text)) {
        if (this.#welcome !== undefined && caller.isOpen) this.#desk.take(caller, frame);
      }
    }
  }

  /** A tab is no more. */
  gone(tab: string): void {
    const caller = this.#callers.get(tab);
    if (caller === undefined) return;
    this.#hangUp(caller);
    this.#environment.after(LINGER, () => {
      this.#callers.delete(tab);
      this.sweepLater();
    });
  }

  /** Lead no more: the tabs hear of it from whoever follows. */
  stop(): void {
    this.#sweep?.();
    this.trunk.close();
  }

  // --- Tabs come and go -------------------------------------------------------------------------

  #admit({ from, line, kept }: ToLeader, hello: string, post: (message: ToTab) => void): void {
    const [auth] = parse(hello);
    if (auth === undefined) return;
    const before = this.#callers.get(from);
    if (before !== undefined) before.isOpen = false; // what it asked for is answered to nobody
    const caller = new Caller(from, line, auth, kept, post);
    this.#callers.set(from, caller);
    if (this.#welcome !== undefined) this.#greet(caller, this.#welcome);
    else this.#connect(caller);
  }

  #connect(caller: Caller): void {
    const { url, protocol, clientId } = this.#line;
    this.#bearer ??= caller; // or another's attempt is under way
    try {
      this.trunk.open(url, protocol, { ...caller.auth, clientId, resume: undefined });
    } catch {
      // Such a URL can not be opened: each tab's own attempt fails as it should.
      for (const caller of this.#callers.values()) this.sendAway(caller);
    }
  }

  /** Answer a tab's auth as the server would. */
  #greet(caller: Caller, welcome: Frame, unclaimed: readonly Held[] = []): void {
    const { auth, wishes } = caller;
    const resume = auth["resume"] as { sessionId?: string; cursor?: Cursor } | undefined;
    const held = this.holdings.of(wishes);
    // What is held no more has a gap that no replay fills: then the session is gone.
    const resumed = resume?.sessionId === caller.sessionId && held.length === wishes.size;
    const subscriptions = [...held, ...unclaimed];
    const cursor = resumed ? resume.cursor : undefined;
    wishes.clear();
    for (const { subscriptionId, topic } of subscriptions) wishes.set(subscriptionId, topic);
    if (cursor === undefined) caller.sessionId = this.#environment.newId();
    caller.place = cursor ?? this.holdings.newest.snapshot();
    caller.keep();
    const limits = welcome["limits"] as { frameBytes: number } | undefined;
    const left = Math.max(0, this.#expiresAt - this.#environment.now());
    caller.give({
      ...welcome,
      id: auth.id,
      sessionId: caller.sessionId,
      resumed: cursor !== undefined,
      subscriptions,
      cursor: caller.place as Cursor,
      limits: limits && { ...limits, frameBytes: limits.frameBytes - ID_LENGTH },
      expiresIn: this.#expiresAt > 0 ? left : undefined,
    });
    if (cursor === undefined) caller.isLive = true;
    else this.#desk.resume(caller, cursor);
  }

  #hangUp(caller: Caller): void {
    caller.isOpen = false;
    if (this.#open().length > 0) return;
    this.trunk.close();
    this.#forgetServer();
  }

  sendAway(caller: Caller): void {
    caller.sendAway();
    // The tab may have come back on another line since.
    if (this.#callers.get(caller.tab) === caller) this.#callers.delete(caller.tab);
    this.#hangUp(caller);
    this.sweepLater();
  }

  #open(): readonly Caller[] {
    return [...this.#callers.values()].filter(({ isOpen }) => isOpen);
  }

  /** Unsubscribe from what no tab wants, once those that come back had the time to say so. */
  sweepLater(): void {
    this.#sweep ??= this.#environment.after(LINGER, () => {
      this.#sweep = undefined;
      if (this.#welcome !== undefined) this.unsubscribe();
    });
  }

  unsubscribe(only?: string): void {
    const wishes = [...this.#callers.values()].map((caller) => caller.wishes);
    const unwanted = this.holdings.takeUnwanted(
      (id) => id !== (only ?? id) || wishes.some((one) => one.has(id)),
    );
    for (const subscriptionId of unwanted) {
      this.trunk.ask({ type: "unsubscribe", subscriptionId }, () => undefined);
    }
  }

  /** What all tabs have acknowledged, this browser has. */
  acknowledge(): void {
    const cursor = least(this.#open().map(({ acked }) => acked));
    const text = JSON.stringify(cursor);
    if (cursor === undefined || text === this.#acked) return;
    this.#acked = text;
    this.trunk.send({ type: "ack", cursor });
  }

  // --- What the server says ---------------------------------------------------------------------

  accepted(welcome: Frame): void {
    this.#welcome = welcome;
    this.#expires(welcome);
    this.holdings.reset(welcome);
    this.#sweep?.();
    this.#sweep = undefined;
    this.sweepLater();
    const wishes = [...this.#callers.values()].map((caller) => caller.wishes);
    const unclaimed = this.holdings.unclaimed((id) => wishes.some((one) => one.has(id)));
    for (const caller of this.#open()) this.#greet(caller, welcome, unclaimed);
  }

  refreshed(caller: Caller, reply: Frame): void {
    this.#bearer = caller;
    this.#expires(reply);
  }

  /** An API key does not expire. */
  #expires({ expiresIn }: Frame): void {
    this.#expiresAt = expiresIn ? this.#environment.now() + Number(expiresIn) : 0;
  }

  frame(frame: Frame): void {
    const { type, cursor, topic, subscriptionId } = frame;
    if (type === "pong") this.holdings.reached(cursor);
    else if (type === "message") this.#message(frame, String(topic));
    else if (type === "subscribed") this.#begun(frame as Held & Frame);
    else if (subscriptionId !== undefined) this.#ended(frame, subscriptionId);
    else {
      if (type === "gap") this.holdings.restart(cursor);
      const segments = topic === undefined ? undefined : split(topic);
      for (const caller of this.#open()) {
        if (segments === undefined || caller.wants(segments)) caller.give(frame);
      }
    }
  }

  #message(frame: Frame, topic: string): void {
    const text = JSON.stringify(frame);
    if (frame["replayed"] === true && this.replays.take(text, topic)) return;
    // Whoever subscribes from here on has not had it.
    const position = frame["position"] as Position | undefined;
    if (position !== undefined) this.holdings.newest.advance(position);
    const segments = split(topic);
    for (const caller of this.#open()) {
      if (caller.isLive && caller.wants(segments)) caller.giveText(text);
    }
  }

  /** Others subscribed this browser: each tab hears of it, as any may have the handler. */
  #begun(frame: Held & Frame): void {
    const { subscriptionId, topic, createdAt, options, cursor: begin } = frame;
    this.holdings.add({ subscriptionId, topic, createdAt, options, begin, reachesBack: false });
    for (const caller of this.#open()) {
      caller.want(subscriptionId, topic);
      caller.give(frame);
    }
  }

  /** The server ended a subscription. */
  #ended(frame: Frame, subscriptionId: string): void {
    this.holdings.takeUnwanted((id) => id !== subscriptionId);
    for (const caller of this.#callers.values()) {
      if (caller.want(subscriptionId)) caller.give(frame);
    }
  }

  lost(code: number): void {
    // What becomes of one tab's token is nothing to the others: they try their own.
    const isOfToken = code === CloseCode.TOKEN_EXPIRED || code === CloseCode.AUTHENTICATION_FAILED;
    const bearer = isOfToken ? this.#bearer : undefined;
    this.#forgetServer();
    for (const caller of this.#callers.values()) {
      if (bearer === undefined || caller === bearer) caller.close(code);
      else caller.restart();
    }
  }

  #forgetServer(): void {
    this.#welcome = this.#acked = this.#bearer = undefined;
    this.replays.lose();
  }
}
