/** The public surface of @bellwether/client. */
import { browser } from "./browser.ts";
import { createClient } from "./client.ts";
import { sharing } from "./sharing/index.ts";
import type { NotificationClient, NotificationClientConfig } from "./types.ts";

/** Make a client; it does nothing until `connect`. */
export function createNotificationClient(config: NotificationClientConfig): NotificationClient {
  return createClient(config, sharing(browser, config));
}

export { ConnectionError, NotificationError } from "./errors.ts";
export { isPattern, patternProblem, topicProblem } from "./topics.ts";
export type { Cursor, Position } from "./cursor.ts";
export type {
  ClientEvent,
  ConnectionState,
  ConnectionStats,
  DisconnectReason,
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
  RetryConfig,
  Subscription,
  SubscriptionOptions,
} from "./types.ts";
