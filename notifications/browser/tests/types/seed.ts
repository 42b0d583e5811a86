/**
 * The interfaces of the original design, as they stand there, without its comments.
 *
 * They are what the client promises: do not adapt this file to the client.
 */

export interface NotificationClient {
  connect(): Promise<void>;

  disconnect(): Promise<void>;

  subscribe<T = unknown>(
    topic: string,
    handler: MessageHandler<T>,
    options?: SubscriptionOptions
  ): Subscription;

  unsubscribe(subscriptionId: string): void;

  getConnectionState(): ConnectionState;

  onStateChange(listener: (state: ConnectionState) => void): void;

  getStats(): ConnectionStats;
}

export interface MessageHandler<T = unknown> {
  (message: NotificationMessage<T>): void | Promise<void>;
}

export interface MessageErrorHandler {
  (error: Error, message: NotificationMessage): void;
}

export interface NotificationMessage<T = unknown> {
  id: string;

  topic: string;

  payload: T;

  timestamp: Date;

  metadata?: {
    priority?: 'low' | 'normal' | 'high' | 'urgent';
    expiresAt?: Date;
    correlationId?: string;
    source?: string;
  };
}

export type ConnectionState =
  | {
      status: 'disconnected';
      reason?: DisconnectReason;
      lastConnectedAt?: Date;
    }
  | {
      status: 'connecting';
      attempt: number;
      startedAt: Date;
    }
  | {
      status: 'connected';
      connectedAt: Date;
      serverId: string;
      latency: number;
    }
  | {
      status: 'reconnecting';
      attempt: number;
      lastError: Error;
      nextRetryAt: Date;
      backoffDelay: number;
    };

export type DisconnectReason =
  | 'client_initiated'
  | 'server_initiated'
  | 'network_error'
  | 'authentication_failed'
  | 'timeout'
  | 'protocol_error';

export interface SubscriptionOptions {
  filter?: (message: NotificationMessage) => boolean;

  onError?: MessageErrorHandler;

  replayMissed?: boolean;

  maxReplayAge?: number;
}

export interface Subscription {
  readonly id: string;

  readonly topic: string;

  readonly createdAt: Date;

  unsubscribe(): void;

  isActive(): boolean;
}

export interface ConnectionStats {
  messagesReceived: number;
  messagesSent: number;
  reconnectCount: number;
  averageLatency: number;
  uptime: number;
  lastHeartbeat: Date;
}

export interface NotificationClientConfig {
  url: string;

  auth: string | (() => Promise<string>);

  heartbeatInterval?: number;

  heartbeatTimeout?: number;

  retryConfig?: RetryConfig;

  queueConfig?: QueueConfig;

  debug?: boolean;
}

export interface RetryConfig {
  maxRetries: number;

  initialDelay: number;

  maxDelay: number;

  backoffMultiplier: number;

  jitter: boolean;
}

export interface QueueConfig {
  maxSize: number;

  maxAge: number;

  overflowStrategy: 'drop-oldest' | 'drop-newest' | 'reject';
}
