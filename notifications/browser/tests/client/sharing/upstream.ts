/** A model of the server: a log in two partitions, and the rules of replay. */
import { isBehind } from "../../../src/client/sharing/wire.ts";
import { matches, split } from "../../../src/client/topics.ts";
import type { Scheduler } from "./scheduler.ts";

export type Frame = Record<string, unknown>;
export type Offsets = Record<string, number>;

export interface Logged {
  readonly id: string;
  readonly topic: string;
  readonly position: readonly [number, number];
}

interface Row {
  readonly subscriptionId: string;
  readonly topic: string;
  readonly options: Frame;
  readonly begin: Offsets;
  /** Whether others began it. */
  readonly unasked?: true;
}

/** What the other end of a connection hears. */
export interface Ear {
  received(text: string): void;
  closed(code: number): void;
}

export class Upstream {
  readonly log: Logged[] = [];
  readonly connections: Connection[] = [];
  /** By client. */
  readonly rows = new Map<string, Map<string, Row>>();
  readonly scheduler: Scheduler;
  epoch = "x1";
  #ids = 0;

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
  }

  newId(): string {
    return `up-${(this.#ids += 1)}`;
  }

  get open(): readonly Connection[] {
    return this.connections.filter(({ isOpen }) => isOpen);
  }

  heads(): Offsets {
    const heads: Offsets = { "0": 0, "1": 0 };
    for (const { position } of this.log) heads[String(position[0])] = position[1];
    return heads;
  }

  publish(topic: string): Logged {
    const partition = topic.startsWith("b") ? 1 : 0;
    const offset = (this.heads()[String(partition)] ?? 0) + 1;
    const message: Logged = { id: this.newId(), topic, position: [partition, offset] };
    this.log.push(message);
    for (const connection of this.open) connection.live(message);
    return message;
  }

  /** Others subscribe a client, whether it is there or not. */
  give(clientId: string, topic: string): string {
    const subscriptionId = this.newId();
    const row: Row = { subscriptionId, topic, options: {}, begin: this.heads(), unasked: true };
    const rows = this.rows.get(clientId) ?? new Map<string, Row>();
    this.rows.set(clientId, rows.set(topic, row));
    for (const connection of this.open) {
      if (connection.clientId === clientId) connection.given(row);
    }
    return subscriptionId;
  }

  accept(ear: Ear): Connection {
    const connection = new Connection(this, ear, `socket ${this.connections.length}`);
    this.connections.push(connection);
    return connection;
  }
}

export class Connection {
  readonly heard: Frame[] = [];
  isOpen = true;
  clientId = "";
  token = "";
  sessionId = "";
  readonly #upstream: Upstream;
  readonly #ear: Ear;
  readonly #name: string;
  #wishes = new Map<string, Row>();
  /** Where it stands while a replay goes out; what is live waits in the log. */
  #place: Offsets | undefined;

  constructor(upstream: Upstream, ear: Ear, name: string) {
    this.#upstream = upstream;
    this.#ear = ear;
    this.#name = name;
  }

  /** What the client sends arrives some time. */
  send(text: string): void {
    this.#upstream.scheduler.add(`${this.#name} up`, () => {
      if (this.isOpen) this.#take(JSON.parse(text) as Frame);
    });
  }

  /** The client closed it, or is no more. */
  leave(): void {
    this.isOpen = false;
  }

  /** Close it from the server's side. */
  close(code: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#upstream.scheduler.add(`${this.#name} down`, () => {
      this.#ear.closed(code);
    });
  }

  say(frame: Frame): void {
    if (!this.isOpen) return;
    this.#upstream.scheduler.add(`${this.#name} down`, () => {
      this.#ear.received(JSON.stringify(frame));
    });
  }

  given(row: Row): void {
    const { subscriptionId, topic, options, begin } = row;
    this.#wishes.set(topic, row);
    const createdAt = "2026-01-01T00:00:00.000Z";
    const cursor = this.#cursor(begin);
    this.say({ type: "subscribed", subscriptionId, topic, options, createdAt, cursor });
  }

  live(message: Logged): void {
    if (this.#place === undefined && this.#wants(message, false)) this.#message(message, false);
  }

  #message({ id, topic, position }: Logged, replayed: boolean): void {
    const timestamp = "2026-01-01T00:00:00.000Z";
    const frame = { type: "message", id, topic, payload: null, timestamp, position };
    this.say(replayed ? { ...frame, replayed } : frame);
  }

  #wants({ topic, position: [partition, offset] }: Logged, ignoreBegin: boolean): boolean {
    return [...this.#wishes.values()].some(
      (row) =>
        matches(split(row.topic), split(topic)) &&
        (ignoreBegin || offset > (row.begin[String(partition)] ?? 0)),
    );
  }

  #cursor(offsets: Offsets): Frame {
    return { epoch: this.#upstream.epoch, offsets };
  }

  #take(frame: Frame): void {
    this.heard.push(frame);
    const rows = this.#upstream.rows.get(this.clientId);
    switch (frame["type"]) {
      case "auth":
        this.#auth(frame);
        break;
      case "ping":
        this.say({ type: "pong", t: frame["t"], cursor: this.#cursor(this.#place ?? this.#upstream.heads()) });
        break;
      case "subscribe":
        this.#subscribe(frame);
        break;
      case "unsubscribe":
        for (const { subscriptionId, topic } of rows?.values() ?? []) {
          if (subscriptionId !== frame["subscriptionId"]) continue;
          rows?.delete(topic);
          this.#wishes.delete(topic);
        }
        this.say({ ...frame, type: "unsubscribed" });
        break;
      case "replay":
        if (this.#place !== undefined) this.#limited(frame);
        else this.#replay(frame, frame["cursor"] as Frame, frame["subscriptionId"]);
        break;
      case "publish": {
        const { id: messageId, topic } = this.#upstream.publish(String(frame["topic"]));
        this.say({ type: "published", id: frame["id"], messageId, topic, timestamp: "2026-01-01T00:00:00.000Z" });
        break;
      }
      case "refresh":
        this.say({ type: "refreshed", id: frame["id"], expiresIn: 900_000 });
        break;
    }
  }

  #limited({ id }: Frame): void {
    const rest = { message: "", temporary: true, retryAfter: 1_000 };
    this.say({ type: "error", id, code: "RATE_LIMITED", ...rest });
  }

  #auth(frame: Frame): void {
    const { clientId, token } = frame as { clientId: string; token: string };
    for (const other of this.#upstream.open) {
      if (other !== this && other.clientId === clientId) other.close(4504);
    }
    this.clientId = clientId;
    this.token = token;
    this.sessionId = this.#upstream.newId();
    const rows = this.#upstream.rows.get(clientId) ?? new Map<string, Row>();
    this.#upstream.rows.set(clientId, rows);
    this.#wishes = new Map(rows);
    this.say({
      type: "auth_success",
      sessionId: this.sessionId,
      serverId: "server-1",
      // The browser asks for none; a socket of a tab's own asks for one that is not known here.
      resumed: false,
      subscriptions: [...rows.values()].map(({ subscriptionId, topic, options, unasked }) => {
        const createdAt = "2026-01-01T00:00:00.000Z";
        return { subscriptionId, topic, options, createdAt, unasked };
      }),
      cursor: this.#cursor(this.#upstream.heads()),
      heartbeat: { interval: 30_000, timeout: 5_000 },
      limits: { frameBytes: 65_536 },
      expiresIn: 900_000,
    });
  }

  #subscribe(frame: Frame): void {
    const topic = String(frame["topic"]);
    const options = (frame["options"] ?? {}) as Frame;
    const since = options["since"] as Frame | undefined;
    const rows = this.#upstream.rows.get(this.clientId) ?? new Map<string, Row>();
    const existing = rows.get(topic);
    if (existing !== undefined) {
      const data = { subscriptionId: existing.subscriptionId };
      this.say({ type: "error", id: frame["id"], code: "ALREADY_SUBSCRIBED", message: "", data });
      return;
    }
    if (since !== undefined && this.#place !== undefined) {
      this.#limited(frame);
      return;
    }
    const heads = this.#upstream.heads();
    const subscriptionId = this.#upstream.newId();
    const row = { subscriptionId, topic, options, begin: heads };
    rows.set(topic, since === undefined ? row : { ...row, begin: since["offsets"] as Offsets });
    this.#wishes.set(topic, row);
    const createdAt = "2026-01-01T00:00:00.000Z";
    this.say({ type: "subscribed", id: frame["id"], subscriptionId, topic, createdAt, cursor: this.#cursor(heads) });
    if (since !== undefined) this.#replay(frame, since, subscriptionId, true);
  }

  /** Send it message by message, with time in between for whatever else happens. */
  #replay({ id }: Frame, cursor: Frame, only: unknown, ignoreBegin = false): void {
    const through = this.#upstream.heads();
    this.#place = through;
    const here = this.#cursor(through);
    const isKnown = isBehind(cursor as never, here as never);
    const after = cursor["offsets"] as Offsets;
    const missed = this.#upstream.log.filter((message) => {
      const [partition, offset] = message.position;
      const isOfIt = [...this.#wishes.values()].some(
        (row) =>
          (only === undefined || row.subscriptionId === only) &&
          matches(split(row.topic), split(message.topic)) &&
          (ignoreBegin || offset > (row.begin[String(partition)] ?? 0)),
      );
      return isOfIt && isKnown && offset > (after[String(partition)] ?? 0);
    });
    missed.sort((left, right) => left.position[0] - right.position[0]);
    const count = missed.length;
    const next = (): void => {
      if (!this.isOpen) return;
      const message = missed.shift();
      if (message !== undefined) {
        this.#message(message, true);
        this.#upstream.scheduler.add(`${this.#name} replay`, next);
        return;
      }
      const reason = isKnown ? {} : { reason: "EPOCH_CHANGED" };
      this.say({ type: "replay_complete", id, recovered: isKnown, count, cursor: here, ...reason });
      this.#upstream.scheduler.add(`${this.#name} replay`, () => {
        this.#catchUp(through);
      });
    };
    this.#upstream.scheduler.add(`${this.#name} replay`, next);
  }

  #catchUp(after: Offsets): void {
    this.#place = undefined;
    for (const message of this.#upstream.log) {
      const [partition, offset] = message.position;
      if (offset > (after[String(partition)] ?? 0)) this.live(message);
    }
  }
}
