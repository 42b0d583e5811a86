/** One run of a schedule: a client, the model server, and whoever listens; and what must hold. */
import { expect } from "vitest";
import { createClient } from "../../src/client/client.ts";
import type { Environment, Socket, SocketEvents } from "../../src/client/environment.ts";
import { type StateEvent, next } from "../../src/client/state.ts";
import { memoryStorage } from "../../src/client/storage.ts";
import type {
  ConnectionState,
  NotificationClient,
  SubscriptionOptions,
} from "../../src/client/types.ts";
import { Clock } from "./clock.ts";
import { type Behaviour, Listener } from "./model-listener.ts";
import { ModelServer } from "./model-server.ts";
import { settled } from "./world.ts";

export const TOPICS = ["user.1.a", "user.1.*", "user.2.a", "user.**"] as const;
const RETRY = {
  maxRetries: 0,
  initialDelay: 10,
  maxDelay: 100,
  backoffMultiplier: 2,
  jitter: false,
};
const EVENTS: readonly StateEvent[] = ["try", "establish", "lose", "end"];

export class Run {
  readonly clock = new Clock();
  readonly server = new ModelServer();
  readonly listeners: Listener[] = [];
  /** What handlers saw that must not be: what they throw, the client would keep to itself. */
  readonly violations: string[] = [];
  /** Slow handlers that have not ended, of the client that is. */
  slow: (() => void)[] = [];
  /** From here on slow handlers are quick. */
  isEnding = false;
  client!: NotificationClient;
  wake: () => void = () => undefined;
  hide: () => void = () => undefined;
  /** Whether the client has been told that it is connected, and not that it is no more. */
  #isAccepted = false;
  #life = 0;
  #ids = 0;
  #refusals = 0;
  /** What the server holds and nobody has asked for yet, in this life. */
  #orphans = new Map<string, () => void>();
  readonly #storage = memoryStorage();

  start(): void {
    this.#life += 1;
    this.server.life = this.#life;
    this.slow = [];
    this.client = createClient(
      {
        url: "ws://model/ws",
        auth: () => Promise.resolve("token"),
        retryConfig: RETRY,
        circuitBreaker: { failureThreshold: 3, resetTimeout: 50 },
        storage: this.#storage,
        acknowledge: true,
      },
      this.#environment(),
    );
    let status: ConnectionState["status"] = "disconnected";
    this.client.onStateChange((state) => {
      const from = status;
      status = state.status;
      expect(EVENTS.some((event) => leadsTo(from, event, status))).toBe(true);
    });
    this.#orphans = new Map();
    this.client.onEvent((event) => {
      if (event.type === "orphan") this.#orphans.set(event.topic, event.unsubscribe);
    });
    void this.client.connect();
  }

  subscribe(topic: string, behaviour: Behaviour, options: SubscriptionOptions): void {
    const same = this.listeners.filter((one) => one.isActive && one.topic === topic);
    const shared = same[0]?.options ?? options; // subscriptions of one topic must agree
    const isLate = this.#orphans.has(topic) || same.some((one) => one.isConfirmed);
    const listener = new Listener(topic, behaviour, shared, isLate);
    this.listeners.push(listener);
    listener.listen(this);
  }

  /**
   * Let what is on its way arrive: a frame at the server, if it serves, and frames at the client.
   *
   * @param batch how many of these at once.
   */
  flow(batch: number, serves = true): void {
    const { connection } = this.server;
    if (connection === undefined || connection.isClosed) return;
    if (!connection.isOpen) {
      if (this.#refusals > 0) {
        this.#refusals -= 1;
        connection.end(1006);
        return;
      }
      connection.isOpen = true;
      connection.events.opened();
      return;
    }
    if (serves) connection.serve();
    const frames = connection.outbound.splice(0, batch);
    if (frames.some(({ type }) => type === "auth_success")) this.#isAccepted = true;
    if (frames.length === 1) connection.events.received(JSON.stringify(frames[0]));
    else if (frames.length > 1) connection.events.received(JSON.stringify(frames));
  }

  cut(code: number): void {
    this.server.connection?.end(code);
  }

  refuse(times: number): void {
    this.#refusals = times;
  }

  restart(loses: "nothing" | "sessions" | "everything"): void {
    this.cut(1012);
    if (loses !== "nothing") this.server.sessions.clear();
    if (loses !== "everything") return;
    this.server.rows = [];
    for (const listener of this.listeners) listener.forgotten();
  }

  /** The page goes away and comes back; its handlers are attached before or after it connects. */
  async reload(isLate: boolean): Promise<void> {
    this.hide();
    this.server.connection?.end(1001);
    await settled();
    const kept = this.listeners.filter((one) => one.isActive);
    for (const one of kept) one.reloaded();
    this.#isAccepted = false;
    this.start();
    if (isLate) for (let round = 0; round < 8; round += 1) await this.#round();
    for (const one of kept) one.listen(this);
  }

  async #round(): Promise<void> {
    this.flow(3);
    await settled();
  }

  /** Let everything come to its end, and check what must hold then. */
  async finish(): Promise<void> {
    this.#refusals = 0;
    this.isEnding = true;
    await this.#quiet();
    for (const unsubscribe of this.#orphans.values()) unsubscribe(); // does nothing to those taken
    await this.#quiet();
    expect(this.client.getConnectionState().status).toBe("connected");
    expect(this.client.getStats().waiting).toBe(0);
    expect(this.server.collisions).toBe(0);
    expect(this.violations).toEqual([]);
    const wanted = this.listeners.filter((one) => one.isActive).map(({ topic }) => topic);
    expect(new Set(this.server.rows.map(({ topic }) => topic))).toEqual(new Set(wanted));
    for (const listener of this.listeners) listener.check(this.server);
  }

  async #quiet(): Promise<void> {
    for (let round = 0; round < 40; round += 1) {
      this.clock.advance(25);
      for (let turn = 0; turn < 6; turn += 1) this.flow(1_000);
      for (const end of this.slow.splice(0)) end();
      await settled();
    }
  }

  /** What must hold at any time. */
  check(checkCursor: boolean): void {
    expect(this.violations).toEqual([]);
    const isConnected = this.client.getConnectionState().status === "connected";
    expect(isConnected).toBe(this.#isAccepted);
    const cursor = this.client.getCursor();
    if (cursor === undefined || !checkCursor) return;
    for (const listener of this.listeners) listener.checkCursor(this.server, cursor);
  }

  #environment(): Environment {
    const life = this.#life;
    const isNow = (): boolean => life === this.#life;
    return {
      kind: "browser",
      now: this.clock.now,
      elapsed: this.clock.now,
      after: (delay, run) =>
        this.clock.after(delay, () => {
          if (isNow()) run();
        }),
      random: () => 0.5,
      newId: () => `id-${(this.#ids += 1)}`,
      storage: memoryStorage,
      claim: () => Promise.resolve(true),
      open: (_url, _protocol, events) => this.#open(events, isNow),
      onWake: (run) => {
        this.wake = run;
        return () => undefined;
      },
      onHide: (run) => {
        this.hide = run;
        return () => undefined;
      },
      debug: () => undefined,
      complain: (error) => {
        throw error;
      },
    };
  }

  #open(events: SocketEvents, isNow: () => boolean): Socket {
    const connection = this.server.open({
      opened: events.opened,
      received: events.received,
      closed: (code) => {
        if (!isNow()) return;
        if (this.server.connection === connection) this.#isAccepted = false;
        events.closed(code);
      },
    });
    return {
      send: (text) => {
        connection.send(text);
      },
      close: () => {
        this.#isAccepted = false;
        connection.close();
      },
    };
  }
}

function leadsTo(from: ConnectionState["status"], event: StateEvent, to: string): boolean {
  try {
    return next(from, event) === to;
  } catch {
    return false;
  }
}
