/** The interfaces of the client. Durations are milliseconds. */
export type {
  CircuitBreakerConfig,
  NotificationClientConfig,
  QueueConfig,
  RetryConfig,
} from "./config.ts";
import type { Cursor, Position } from "./cursor.ts";
import type { ConnectionError, NotificationError } from "./errors.ts";

/** What an application uses: one connection, any number of subscriptions. */
export interface NotificationClient {
  /**
   * Connect, or hurry a reconnection that is waiting.
   *
   * @throws {ConnectionError} when all retries failed, or the server refuses for good.
   */
  connect(): Promise<void>;

  /** Close the connection; publishes that are still unanswered are rejected. */
  disconnect(): Promise<void>;

  /**
   * Subscribe to a topic or pattern. It outlives reconnections.
   *
   * Its handler gets one message after the other: the next waits for the promise that it returned.
   * Two subscriptions to the same topic share the server's, and must agree in `replayMissed`,
   * `maxReplayAge` and `serverFilter`: otherwise the later is refused with `CONFLICT`.
   */
  subscribe<T = unknown>(
    topic: string,
    handler: MessageHandler<T>,
    options?: SubscriptionOptions,
  ): Subscription;

  /** End a subscription. An id that is unknown or has ended already does nothing. */
  unsubscribe(subscriptionId: string): void;

  getConnectionState(): ConnectionState;

  /** Call the listener at each transition; gives back what removes it. A new latency is none. */
  onStateChange(listener: (state: ConnectionState) => void): () => void;

  getStats(): ConnectionStats;

  /**
   * Publish a message; resolves when it is durable.
   *
   * While the connection is away it waits in a bounded queue. An unanswered one is sent again under
   * the same idempotency key, so that the server stores it once.
   *
   * The promise rejects with a NotificationError: the server's refusal, or `DROPPED` or `EXPIRED`
   * from the queue; with a ConnectionError when no connection will follow.
   *
   * @throws {NotificationError} `QUEUE_FULL`, at the call, where the queue is full and its
   * `overflowStrategy` is `reject`.
   */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishedMessage>;

  /**
   * Ask again for what follows a cursor, of one subscription or of all. It goes to the handlers
   * even where they had it; other messages for them wait meanwhile. Waits for a connection.
   *
   * @throws {NotificationError} the server's refusal, or `ENDED` when the subscription has ended.
   */
  replay(cursor: Cursor, options?: ReplayOptions): Promise<ReplayResult>;

  /** How far the handlers have come; undefined before the first connection. */
  getCursor(): Cursor | undefined;

  /** Call the listener for what no handler sees; gives back what removes it. */
  onEvent(listener: (event: ClientEvent) => void): () => void;
}

export interface ReplayOptions {
  /** Replay for this one alone. */
  subscription?: Subscription;
  /** The oldest message that is wanted, in milliseconds. */
  maxReplayAge?: number;
}

export interface ReplayResult {
  /** Whether all that was asked for has come; if not, nothing has. */
  recovered: boolean;
  count: number;
  /** Why not: `BAD_CURSOR`, `EPOCH_CHANGED`, `BEYOND_RETENTION`, `TOO_MANY`. */
  reason?: string;
}

/** Whoever needs a message; the client's cursor moves past it after all its handlers finished. */
export interface MessageHandler<T = unknown> {
  (message: NotificationMessage<T>): void | Promise<void>;
}

/** Whoever hears of a handler or filter that threw. */
export interface MessageErrorHandler {
  (error: Error, message: NotificationMessage): void;
}

export type Priority = "low" | "normal" | "high" | "urgent";

export interface MessageMetadata {
  priority?: Priority;
  expiresAt?: Date;
  correlationId?: string;
  source?: string;
}

export interface NotificationMessage<T = unknown> {
  id: string;
  topic: string;
  /** As the publisher sent it: check it before you trust it. */
  payload: T;
  timestamp: Date;
  metadata?: MessageMetadata;
  /** Place in its topic, from 1 and gapless. An ephemeral message has none. */
  seq?: number;
  /** Place in the log. An ephemeral message has none. */
  position?: Position;
  /** Present on what was missed and came later. */
  replayed?: true;
}

export type ConnectionState =
  | { status: "disconnected"; reason?: DisconnectReason; lastConnectedAt?: Date }
  /** `attempt` is the number of the retry; 0 is the first try. */
  | { status: "connecting"; attempt: number; startedAt: Date }
  | { status: "connected"; connectedAt: Date; serverId: string; latency: number }
  /** `attempt` is the number of the retry that is waited for, from 1. */
  | {
      status: "reconnecting";
      attempt: number;
      lastError: Error;
      nextRetryAt: Date;
      backoffDelay: number;
    };

export type DisconnectReason =
  | "client_initiated"
  | "server_initiated"
  | "network_error"
  | "authentication_failed"
  | "timeout"
  | "protocol_error";

export interface SubscriptionOptions {
  /** Narrows what this handler gets; it runs here, not on the server. */
  filter?: (message: NotificationMessage) => boolean;
  onError?: MessageErrorHandler;
  /** True asks the server for what was missed; false keeps replayed messages from this handler. */
  replayMissed?: boolean;
  /** The oldest replayed message that is wanted, in milliseconds. */
  maxReplayAge?: number;
  /** Narrows what the server sends: a filter tree, section 6 of the protocol. */
  serverFilter?: FilterTree;
  /** Begin with what follows this cursor, or with the newest `last` messages (up to 1,000). */
  since?: Cursor | { last: number };
  /** Lets the server gather messages of this subscription. */
  batch?: BatchOptions;
}

/** Such as `{ eq: ["payload.kind", "order"] }`. */
export type FilterTree = Readonly<Record<string, unknown>>;

export interface BatchOptions {
  /** Messages, 1 to 100. */
  maxSize?: number;
  /** Milliseconds, up to 10,000. */
  maxDelay?: number;
}

export interface Subscription {
  /** This subscription's id here; the server has its own. */
  readonly id: string;
  readonly topic: string;
  readonly createdAt: Date;
  /** Resolves when the server confirmed; rejects with a NotificationError when it refused. */
  readonly ready: Promise<void>;
  unsubscribe(): void;
  /** Whether it has not ended: a lost connection does not end it. */
  isActive(): boolean;
}

export interface ConnectionStats {
  messagesReceived: number;
  /** Publishes that the server confirmed. */
  messagesSent: number;
  /** Connections that were established again after a loss. */
  reconnectCount: number;
  /** Mean of all round trips measured, handshakes included. */
  averageLatency: number;
  /** Age of the present connection; 0 without one. */
  uptime: number;
  /** The last sign of life that was asked for; the epoch before the first. */
  lastHeartbeat: Date;
  /** The last 20 connections and attempts that failed, oldest first. */
  failures: readonly Failure[];
  /** The worse of the two circuit breakers: of the token function, and of connecting. */
  circuit: Circuit;
  /** Messages that wait for a handler: over 10,000 drop the connection until half are done. */
  waiting: number;
}

export interface Failure {
  at: Date;
  reason: DisconnectReason;
  closeCode?: number;
  message: string;
  /** The number of the retry that failed; 0 is a first try, or a connection that was stable. */
  attempt: number;
}

export type Circuit = "closed" | "open" | "half-open";

export interface PublishOptions extends MessageMetadata {
  /** 1 to 128 characters; a fresh one when absent. */
  idempotencyKey?: string;
}

export interface PublishedMessage {
  id: string;
  topic: string;
  timestamp: Date;
  seq?: number;
  position?: Position;
  /** The server had it already, under the same idempotency key. */
  duplicate?: true;
}

export type ClientEvent =
  /** All that was missed, of all subscriptions or of one topic, has been given to the handlers. */
  | { type: "recovered"; count: number; topic?: string }
  /** Messages may be missing (before `cursor`); the history API has them. */
  | { type: "gap"; reason: string; topic?: string; cursor?: Cursor }
  /** The server holds a subscription that has no handler here: its messages wait for one. */
  | { type: "orphan"; topic: string; createdAt: Date; unsubscribe(): void }
  /** The server refused or ended a subscription. */
  | { type: "subscription_ended"; subscription: Subscription; error: NotificationError }
  /** The connection ended, not by `disconnect`, and no retry will follow. */
  | { type: "connection_ended"; error: ConnectionError }
  /** A handler or filter without `onError` threw. */
  | { type: "handler_error"; error: Error; message: NotificationMessage }
  /** The server complained about no request in particular. */
  | { type: "server_error"; error: NotificationError }
  /** The server sent a frame that this client cannot read; it was left out. */
  | { type: "unreadable_frame"; detail: string }
  /** A circuit breaker changed. */
  | { type: "circuit"; circuit: Circuit }
  /** The storage failed; the client goes on without it. */
  | { type: "storage_failed"; error: Error };
