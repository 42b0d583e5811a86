/** A client that does what the test says. */
import type { NotificationError } from "../../src/client/index.ts";
import type {
  ClientEvent,
  ConnectionState,
  ConnectionStats,
  MessageHandler,
  NotificationClient,
  NotificationMessage,
  PublishedMessage,
  ReplayResult,
  Subscription,
} from "../../src/client/types.ts";

interface Asked {
  readonly topic: string;
  readonly handler: MessageHandler;
  readonly subscription: Subscription;
  active: boolean;
  confirm(): void;
  refuse(error: NotificationError): void;
}

export class FakeClient implements NotificationClient {
  state: ConnectionState = { status: "disconnected" };
  stats: ConnectionStats = {
    messagesReceived: 0,
    messagesSent: 0,
    reconnectCount: 0,
    averageLatency: 0,
    uptime: 0,
    lastHeartbeat: new Date(0),
    failures: [],
    circuit: "closed",
    waiting: 0,
  };
  readonly asked: Asked[] = [];
  readonly calls: string[] = [];
  readonly #states: ((state: ConnectionState) => void)[] = [];
  readonly #events: ((event: ClientEvent) => void)[] = [];

  connect(): Promise<void> {
    this.calls.push("connect");
    return Promise.resolve();
  }

  disconnect(): Promise<void> {
    this.calls.push("disconnect");
    return Promise.resolve();
  }

  subscribe<T = unknown>(topic: string, handler: MessageHandler<T>): Subscription {
    let confirm!: () => void;
    let refuse!: (error: NotificationError) => void;
    const ready = new Promise<void>((resolve, reject) => {
      confirm = resolve;
      refuse = reject;
    });
    const subscription: Subscription = {
      id: `s${this.asked.length}`,
      topic,
      createdAt: new Date(0),
      ready,
      unsubscribe: () => {
        asked.active = false;
      },
      isActive: () => asked.active,
    };
    const asked: Asked = {
      topic,
      handler: handler as MessageHandler,
      subscription,
      active: true,
      confirm,
      refuse,
    };
    this.asked.push(asked);
    return subscription;
  }

  unsubscribe(): void {
    throw new Error("not used");
  }

  getConnectionState(): ConnectionState {
    return this.state;
  }

  onStateChange(listener: (state: ConnectionState) => void): () => void {
    this.#states.push(listener);
    return () => undefined;
  }

  onEvent(listener: (event: ClientEvent) => void): () => void {
    this.#events.push(listener);
    return () => undefined;
  }

  getStats(): ConnectionStats {
    return this.stats;
  }

  publish(): Promise<PublishedMessage> {
    throw new Error("not used");
  }

  replay(): Promise<ReplayResult> {
    throw new Error("not used");
  }

  getCursor(): undefined {
    return undefined;
  }

  go(state: ConnectionState): void {
    this.state = state;
    for (const listener of this.#states) listener(state);
  }

  emit(event: ClientEvent): void {
    for (const listener of this.#events) listener(event);
  }
}

export function message(
  n: number,
  overrides: Partial<NotificationMessage> = {},
): NotificationMessage {
  return {
    id: `m${n}`,
    topic: "user.7.orders",
    payload: { n },
    timestamp: new Date(Date.UTC(2026, 0, 1, 12, 0, 0, n % 1_000)),
    seq: n,
    position: [0, n],
    ...overrides,
  };
}
