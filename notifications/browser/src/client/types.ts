/** The interfaces of the client. Durations are milliseconds. */
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
   * Handlers of one topic start in order; one that returns a promise does not hold up the next.
   * Two subscriptions to the same topic share the server's, with the options of the first.
   */
  subscribe<T = unknown>(
    topic: string,
    handler: MessageHandler<T>,
    options?: SubscriptionOptions,
  ): Subscription;

  /** End a subscription. An id that is unknown or has ended already does nothing. */
  unsubscribe(subscriptionId: string): void;

  getConnectionState(): ConnectionState;

  /** Call the listener at each transition. A new latency alone is none. */
  onStateChange(listener: (state: ConnectionState) => void): void;

  getStats(): ConnectionStats;

  /**
   * Publish a message; resolves when it is durable.
   *
   * While the connection is away it waits in a bounded queue. An unanswered one is sent again under
   * the same idempotency key, so that the server stores it once.
   *
   * @throws {NotificationError} the server's refusal, or `QUEUE_FULL`, `DROPPED`, `EXPIRED` from
   * the queue.
   */
  publish(topic: string, payload: unknown, options?: PublishOptions): Promise<PublishedMessage>;

  /** Call the listener for what no handler sees: recovery, gaps, ended subscriptions. */
  onEvent(listener: (event: ClientEvent) => void): void;
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
  /** The oldest replayed message that is wanted. */
  maxReplayAge?: number;
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
}

export interface NotificationClientConfig {
  /** `wss://host/ws`. A token does not belong into it. */
  url: string;
  /**
   * A token, or a function that fetches a fresh one, called before each connection and refresh.
   * When it throws a NotificationError that is not temporary, the client stops.
   */
  auth: string | (() => Promise<string>);
  /** At most this long between pings; the server's figure when it is shorter or this is absent. */
  heartbeatInterval?: number;
  /** Silence after a ping that counts as death; the server's figure when absent. */
  heartbeatTimeout?: number;
  /** The server's advice when absent. */
  retryConfig?: RetryConfig;
  queueConfig?: QueueConfig;
  /** Tell the server every few seconds, and at `disconnect`, how far the handlers have come. */
  acknowledge?: boolean;
  /** False: a socket of its own for this client, where tabs of one user would share one. */
  shared?: boolean;
  /** Write transitions and losses to the console, never a token. */
  debug?: boolean;
}

export interface RetryConfig {
  /** 0 is without end. */
  maxRetries: number;
  initialDelay: number;
  maxDelay: number;
  backoffMultiplier: number;
  jitter: boolean;
}

/** Bound, age and policy of the publishes that wait for a connection. */
export interface QueueConfig {
  maxSize: number;
  maxAge: number;
  /** What is dropped rejects with `DROPPED`; `reject` answers the new one `QUEUE_FULL`. */
  overflowStrategy: "drop-oldest" | "drop-newest" | "reject";
}

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
  /**
   * A recovery is over, of all subscriptions or of one `topic`. `recovered: false`: messages may
   * have been missed, and the history API has them; `reason` is `SESSION_LOST`,
   * `CONNECTION_LOST` (before all that `replayMissed` asks for had come), or the server's.
   */
  | { type: "recovery"; recovered: boolean; count: number; reason?: string; topic?: string }
  /** Messages may be missing before this cursor. */
  | { type: "gap"; reason: string; topic?: string; cursor: Cursor }
  /** The server holds a subscription for this client that nobody here asked for. */
  | { type: "orphan"; topic: string; createdAt: Date }
  /** The server refused or ended a subscription. */
  | { type: "subscription_ended"; subscription: Subscription; error: NotificationError }
  /** The connection ended, not by `disconnect`, and no retry will follow. */
  | { type: "connection_ended"; error: ConnectionError }
  /** A handler or filter without `onError` threw. */
  | { type: "handler_error"; error: Error; message: NotificationMessage }
  /** The server complained about no request in particular. */
  | { type: "server_error"; error: NotificationError }
  /** The server sent a frame that this client cannot read; it was left out. */
  | { type: "unreadable_frame"; detail: string };
