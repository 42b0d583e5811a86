/** A server that says what the test tells it to. */
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export type Frame = Record<string, unknown>;

/** Values that arrive, and whoever waits for them. */
export class Inbound<T> {
  readonly #ready: T[] = [];
  readonly #waiting: ((value: T) => void)[] = [];

  push(value: T): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#ready.push(value);
    else waiter(value);
  }

  next(): Promise<T> {
    const value = this.#ready.shift();
    if (value !== undefined) return Promise.resolve(value);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  get size(): number {
    return this.#ready.length;
  }
}

/** The server's end of one connection. */
export class Peer {
  readonly frames = new Inbound<Frame>();
  readonly closed: Promise<number>;
  readonly protocol: string;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    this.protocol = socket.protocol;
    socket.on("message", (data: Buffer) => {
      this.frames.push(JSON.parse(data.toString("utf8")) as Frame);
    });
    this.closed = new Promise((resolve) => socket.on("close", resolve));
  }

  /** Wait for the next frame, which must be of this type. */
  async expect(type: string): Promise<Frame> {
    const frame = await this.frames.next();
    if (frame["type"] !== type) throw new Error(`wanted ${type}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  send(frame: Frame | Frame[]): void {
    this.#socket.send(JSON.stringify(frame));
  }

  sendText(text: string): void {
    this.#socket.send(text);
  }

  /** Accept the token; gives back the auth frame. */
  async accept(overrides: Frame = {}): Promise<Frame> {
    const auth = await this.expect("auth");
    this.send(authSuccess(overrides));
    return auth;
  }

  /** Confirm the next subscribe; gives it back. */
  async subscribed(subscriptionId: string): Promise<Frame> {
    const frame = await this.expect("subscribe");
    this.send({
      type: "subscribed",
      id: frame["id"],
      subscriptionId,
      topic: frame["topic"],
      createdAt: "2026-01-01T00:00:00.000Z",
      cursor: CURSOR,
    });
    return frame;
  }

  /** Wait for a request, answer it, and give it back. */
  async answer(type: string, reply: Frame): Promise<Frame> {
    const frame = await this.expect(type);
    this.send({ id: frame["id"], ...reply });
    return frame;
  }

  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Cut the line without a goodbye. */
  cut(): void {
    this.#socket.terminate();
  }
}

export class FakeServer {
  readonly peers = new Inbound<Peer>();
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.peers.push(new Peer(socket));
    });
  }

  static async start(): Promise<FakeServer> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    await new Promise((resolve) => server.once("listening", resolve));
    return new FakeServer(server);
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `ws://127.0.0.1:${port}/ws`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export const CURSOR = { epoch: "x1", offsets: { "0": 10, "1": 0 } };

export function authSuccess(overrides: Frame = {}): Frame {
  return {
    type: "auth_success",
    sessionId: "session-1",
    serverId: "server-1",
    capabilities: ["batch"],
    resumed: false,
    subscriptions: [],
    cursor: CURSOR,
    heartbeat: { interval: 30_000, timeout: 5_000 },
    retry: {
      maxRetries: 0,
      initialDelay: 1_000,
      maxDelay: 30_000,
      backoffMultiplier: 2,
      jitter: false,
      strategy: "exponential",
    },
    limits: { frameBytes: 65_536 },
    expiresIn: 900_000,
    serverTime: "2026-01-01T00:00:00.000Z",
    ...overrides,
  };
}

/** A held subscription as auth_success lists it. */
export function held(subscriptionId: string, topic: string): Frame {
  return { subscriptionId, topic, options: {}, createdAt: "2026-01-01T00:00:00.000Z" };
}

/** The end of a replay. */
export function complete(overrides: Frame = {}): Frame {
  return { type: "replay_complete", recovered: true, count: 0, cursor: CURSOR, ...overrides };
}

/** A message of partition 0. */
export function message(offset: number, overrides: Frame = {}): Frame {
  return {
    type: "message",
    id: `message-${offset}`,
    topic: "user.1.orders",
    payload: { n: offset },
    timestamp: "2026-01-01T00:00:00.000Z",
    seq: offset,
    position: [0, offset],
    ...overrides,
  };
}
