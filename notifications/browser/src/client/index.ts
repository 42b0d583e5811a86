/** The public surface of @bellwether/client. */
import { browser, openSocket } from "./browser.ts";
import { createClient } from "./client.ts";
import { sharing } from "./sharing/index.ts";
import type { NotificationClient, NotificationClientConfig } from "./types.ts";

/** Make a client; it does nothing until `connect`. */
export function createNotificationClient(config: NotificationClientConfig): NotificationClient {
  const { webSocket } = config;
  if (webSocket === undefined) return createClient(config, sharing(browser, config));
  return createClient(config, {
    ...browser,
    open: (url, protocol, events) => openSocket(webSocket, url, protocol, events),
  });
}

export { ConnectionError, NotificationError } from "./errors.ts";
export { memoryStorage, webStorage } from "./storage.ts";
export { isPattern, patternProblem, topicProblem } from "./topics.ts";
export type { RetryStrategy } from "./backoff.ts";
export type { Cursor, Position } from "./cursor.ts";
export type { WebSocketConstructor, WebSocketLike } from "./environment.ts";
export type { StateStorage } from "./storage.ts";
export type {
  BatchOptions,
  Circuit,
  CircuitBreakerConfig,
  ClientEvent,
  ConnectionState,
  ConnectionStats,
  DisconnectReason,
  Failure,
  FilterTree,
  MessageErrorHandler,
  MessageHandler,
  MessageMetadata,
  NotificationClient,
  NotificationClientConfig,
  NotificationMessage,
  Priority,
  PublishOptions,
  PublishedMessage,
  QueueConfig,
  ReplayOptions,
  ReplayResult,
  RetryConfig,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";
