/** A small server that keeps the contract: a log, sessions, subscriptions, replays; in memory. */
import type { Socket, SocketEvents } from "../../src/client/environment.ts";
import { matches, split } from "../../src/client/topics.ts";
import { type Frame, authSuccess } from "./fake-server.ts";

export const PARTITIONS = 2;

export type Offsets = number[];

export interface Logged {
  topic: string;
  partition: number;
  offset: number;
}

export interface Row {
  id: string;
  /** The life of the page that asked for it. */
  life: number;
  topic: string;
  options: Frame;
  /** Where a later connection lets it begin: where `since` said. */
  begin: Offsets;
  /** Where its live messages began. */
  place: Offsets;
}

/** A subscription as one connection serves it. */
interface Wish extends Row {
  /** Where it begins on this connection. */
  from: Offsets;
}

export class ModelServer {
  readonly log: Logged[] = [];
  rows: Row[] = [];
  /** The newest row of each topic, forgotten or not. */
  readonly newest = new Map<string, Row>();
  life = 0;
  sessions = new Set<string>();
  connection: ModelConnection | undefined;
  /** Requests for a replay while another was going out: a client must not. */
  collisions = 0;
  #ids = 0;
  readonly #heads: Offsets = Array<number>(PARTITIONS).fill(0);

  get heads(): Offsets {
    return [...this.#heads];
  }

  newId(): string {
    return `s${(this.#ids += 1)}`;
  }

  publish(topic: string): void {
    const partition = Number(split(topic)[1]) % PARTITIONS;
    const offset = (this.#heads[partition] ?? 0) + 1;
    this.#heads[partition] = offset;
    this.log.push({ topic, partition, offset });
    this.connection?.pump();
  }

  /** The newest connection counts. */
  open(events: SocketEvents): ModelConnection {
    return (this.connection = new ModelConnection(this, events));
  }

  after(place: Offsets, { topic, partition, offset }: Logged, row: Row): boolean {
    return offset > (place[partition] ?? 0) && matches(split(row.topic), split(topic));
  }
}

export class ModelConnection implements Socket {
  readonly events: SocketEvents;
  /** Frames on their way to the client, and from it. */
  readonly outbound: Frame[] = [];
  readonly inbound: Frame[] = [];
  isOpen = false;
  isClosed = false;
  readonly #server: ModelServer;
  #wishes: Wish[] = [];
  /** How much of the log has been sent live. */
  #sent = 0;
  #isAccepted = false;
  #acked: Offsets = [];

  constructor(server: ModelServer, events: SocketEvents) {
    this.#server = server;
    this.events = events;
  }

  send(text: string): void {
    if (!this.isClosed) this.inbound.push(JSON.parse(text) as Frame);
  }

  close(): void {
    this.end(1000);
  }

  /** Lose the line, with all that is on its way. */
  end(code: number): void {
    if (this.isClosed) return;
    this.isClosed = true;
    queueMicrotask(() => {
      this.events.closed(code);
    });
  }

  /** Take the next frame of the client. */
  serve(): void {
    const frame = this.inbound.shift();
    if (frame !== undefined && !this.isClosed) this.#serve(frame);
  }

  /** Send what has been published and not been sent. */
  pump(): void {
    if (!this.#isAccepted) return;
    for (const one of this.#server.log.slice(this.#sent)) {
      if (this.#wishes.some((wish) => this.#server.after(wish.from, one, wish))) {
        this.outbound.push(messageOf(one));
      }
    }
    this.#sent = this.#server.log.length;
  }

  #serve(frame: Frame): void {
    const { type, id } = frame;
    if (type === "auth") this.#auth(frame);
    else if (type === "subscribe") this.#subscribe(frame);
    else if (type === "unsubscribe") {
      const gone = (row: Row): boolean => row.id !== frame["subscriptionId"];
      this.#wishes = this.#wishes.filter(gone);
      this.#server.rows = this.#server.rows.filter(gone);
      this.outbound.push({ type: "unsubscribed", id, subscriptionId: frame["subscriptionId"] });
    } else if (type === "replay") {
      const only = frame["subscriptionId"];
      const wishes = this.#wishes.filter((wish) => only === undefined || wish.id === only);
      if (this.#isBusy(id)) return;
      this.#replay(offsetsOf(frame["cursor"]), wishes, id);
    } else if (type === "verify") {
      const held = this.#wishes.map((wish) => wish.id);
      const inactive = (frame["subscriptionIds"] as string[])
        .filter((one) => !held.includes(one))
        .map((subscriptionId) => ({ subscriptionId, code: "UNKNOWN_SUBSCRIPTION" }));
      this.outbound.push({ type: "verified", id, active: [], inactive });
    } else if (type === "ping") {
      this.outbound.push({ type: "pong", t: frame["t"], cursor: cursorOf(this.#server.heads) });
    } else if (type === "ack") this.#acked = offsetsOf(frame["cursor"]);
  }

  #auth(frame: Frame): void {
    const resume = frame["resume"] as { sessionId: string; cursor: unknown } | undefined;
    const resumed = resume !== undefined && this.#server.sessions.has(resume.sessionId);
    const sessionId = resumed ? resume.sessionId : this.#server.newId();
    this.#server.sessions.add(sessionId);
    this.#wishes = this.#server.rows.map((row) => ({ ...row, from: row.begin }));
    this.#sent = this.#server.log.length;
    this.#isAccepted = true;
    const cursor = resumed ? resume.cursor : cursorOf(this.#server.heads);
    this.#acked = offsetsOf(cursor);
    const subscriptions = this.#server.rows.map(({ id, topic, options }) => {
      return { subscriptionId: id, topic, options, createdAt: "2026-01-01T00:00:00.000Z" };
    });
    const heartbeat = { interval: 1_000, timeout: 200 };
    this.outbound.push(authSuccess({ sessionId, resumed, cursor, subscriptions, heartbeat }));
    const missed = this.#wishes.filter(({ options }) => options["replayMissed"] !== false);
    if (resumed) this.#replay(this.#acked, missed, undefined);
  }

  #subscribe({ id, topic, options = {} }: Frame): void {
    const { since, replayMissed } = options as Frame;
    const held = this.#wishes.find((wish) => wish.topic === topic);
    if (held !== undefined) {
      const data = { subscriptionId: held.id };
      this.outbound.push({ type: "error", id, code: "ALREADY_SUBSCRIBED", message: "", data });
      return;
    }
    const replays = since !== undefined || replayMissed === true;
    if (replays && this.#isBusy(id)) return;
    const place = this.#server.heads;
    const begin = replays ? this.#beginOf(since, String(topic), place) : place;
    const row = {
      id: this.#server.newId(),
      life: this.#server.life,
      topic: String(topic),
      options: options as Frame,
      begin,
      place,
    };
    const wish = { ...row, from: place };
    this.#server.rows.push(row);
    this.#server.newest.set(row.topic, row);
    this.#wishes.push(wish);
    const subscribed = { type: "subscribed", id, subscriptionId: row.id, topic };
    this.outbound.push({ ...subscribed, cursor: cursorOf(place) });
    if (replays) this.#replay(begin, [{ ...wish, from: begin }], id);
  }

  #beginOf(since: unknown, topic: string, place: Offsets): Offsets {
    const last = (since as { last?: number } | undefined)?.last;
    if (since === undefined) return this.#acked;
    if (last === undefined) return offsetsOf(since);
    const segments = split(topic);
    const newest = this.#server.log.filter((one) => matches(segments, split(one.topic)));
    const first = newest.slice(-last)[0];
    // Its topics are of one partition, or those of the other begin at the head.
    return place.map((head, partition) =>
      first?.partition === partition ? first.offset - 1 : head,
    );
  }

  /** Whether a replay is going out; then the request is refused. */
  #isBusy(id: unknown): boolean {
    if (!this.outbound.some(({ type }) => type === "replay_complete")) return false;
    this.#server.collisions += 1;
    const error = { type: "error", id, code: "RATE_LIMITED", message: "", temporary: true };
    this.outbound.push({ ...error, retryAfter: 10 });
    return true;
  }

  #replay(after: Offsets, wishes: readonly Wish[], id: unknown): void {
    const wanted = this.#server.log
      .filter((one) => one.offset > (after[one.partition] ?? 0))
      .filter((one) => wishes.some((wish) => this.#server.after(wish.from, one, wish)))
      .sort((one, other) => one.partition - other.partition || one.offset - other.offset);
    for (const one of wanted) this.outbound.push({ ...messageOf(one), replayed: true });
    const cursor = cursorOf(this.#server.heads);
    const complete = { type: "replay_complete", recovered: true, count: wanted.length, cursor };
    this.outbound.push(id === undefined ? complete : { ...complete, id });
  }
}

function messageOf({ topic, partition, offset }: Logged): Frame {
  return {
    type: "message",
    id: `${partition}-${offset}`,
    topic,
    payload: null,
    timestamp: "2026-01-01T00:00:00.000Z",
    position: [partition, offset],
  };
}

function cursorOf(offsets: Offsets): Frame {
  return { epoch: "x1", offsets: Object.fromEntries(offsets.entries()) };
}

function offsetsOf(cursor: unknown): Offsets {
  const { offsets } = cursor as { offsets: Record<string, number> };
  return [...Array(PARTITIONS).keys()].map((partition) => offsets[String(partition)] ?? 0);
}
