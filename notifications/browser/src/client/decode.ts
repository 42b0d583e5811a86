/** The one place where the server's frames are decoded and checked. */
import { DEFAULT_RETRY, type RetryAdvice, type RetryStrategy } from "./backoff.ts";
import { NotificationError } from "./errors.ts";
import * as field from "./fields.ts";
import { Unreadable, type Wire, isWire, optional } from "./fields.ts";
import type { AuthSuccess, HeldSubscription, RequestId, ServerFrame } from "./frames.ts";
import type { MessageMetadata, NotificationMessage, Priority } from "./types.ts";

/** What becomes of an inbound text. */
export interface FrameSink {
  frame(frame: ServerFrame): void;
  /** A type that this client does not know: the protocol says to ignore it. */
  unknown(type: string): void;
  unreadable(detail: string): void;
}

/** Decode a frame or a batch, handing each frame on before the next is read. */
export function decode(data: unknown, sink: FrameSink): void {
  let value: unknown;
  try {
    value = JSON.parse(String(data));
  } catch {
    sink.unreadable("not JSON");
    return;
  }
  if (Array.isArray(value)) for (const one of value) decodeOne(one, sink);
  else decodeOne(value, sink);
}

function decodeOne(value: unknown, sink: FrameSink): void {
  let frame: ServerFrame;
  try {
    if (!isWire(value)) throw new Unreadable("not an object");
    const type = field.text(value, "type");
    const read = READERS.get(type);
    if (read === undefined) {
      sink.unknown(type);
      return;
    }
    frame = read(value);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const type = isWire(value) ? String(value["type"]).slice(0, 40) : typeof value;
    sink.unreadable(`${type}: ${error.message}`);
    return;
  }
  sink.frame(frame);
}

const READERS: ReadonlyMap<string, (wire: Wire) => ServerFrame> = new Map([
  ["message", (wire: Wire): ServerFrame => ({ type: "message", message: readMessage(wire) })],
  ["auth_success", readAuthSuccess],
  [
    "subscribed",
    (wire) => ({
      type: "subscribed",
      id: requestId(wire, "id"),
      subscriptionId: field.text(wire, "subscriptionId"),
    }),
  ],
  [
    "unsubscribed",
    (wire) => ({
      type: "unsubscribed",
      id: optional(wire, "id", requestId),
      subscriptionId: field.text(wire, "subscriptionId"),
      code: optional(wire, "code", field.text),
      reason: optional(wire, "reason", field.text),
    }),
  ],
  [
    "published",
    (wire) => ({
      type: "published",
      id: requestId(wire, "id"),
      messageId: field.text(wire, "messageId"),
      topic: field.text(wire, "topic"),
      timestamp: field.instant(wire, "timestamp"),
      seq: optional(wire, "seq", field.count),
      position: optional(wire, "position", field.position),
      duplicate: optional(wire, "duplicate", field.flag) ?? false,
    }),
  ],
  [
    "replay_complete",
    (wire) => ({
      type: "replay_complete",
      id: optional(wire, "id", requestId),
      recovered: field.flag(wire, "recovered"),
      count: field.count(wire, "count"),
      cursor: field.cursor(wire, "cursor"),
      reason: optional(wire, "reason", field.text),
    }),
  ],
  [
    "pong",
    (wire) => ({
      type: "pong",
      t: optional(wire, "t", field.amount),
      cursor: field.cursor(wire, "cursor"),
    }),
  ],
  [
    "gap",
    (wire) => ({
      type: "gap",
      topic: optional(wire, "topic", field.text),
      reason: field.text(wire, "reason"),
      cursor: field.cursor(wire, "cursor"),
    }),
  ],
  ["token_expiring", () => ({ type: "token_expiring" })],
  ["refreshed", (wire) => ({ type: "refreshed", id: requestId(wire, "id") })],
  [
    "disconnect",
    (wire) => ({
      type: "disconnect",
      code: field.count(wire, "code"),
      reason: field.text(wire, "reason"),
      reconnect: field.flag(wire, "reconnect"),
      retryAfter: optional(wire, "retryAfter", field.amount),
    }),
  ],
  [
    "error",
    (wire) => ({ type: "error", id: optional(wire, "id", requestId), error: readError(wire) }),
  ],
]);

function requestId(wire: Wire, key: string): RequestId {
  return typeof wire[key] === "string" ? field.text(wire, key) : field.count(wire, key);
}

function readMessage(wire: Wire): NotificationMessage {
  if (!("payload" in wire)) throw new Unreadable("payload is missing");
  const message: NotificationMessage = {
    id: field.text(wire, "id"),
    topic: field.text(wire, "topic"),
    payload: wire["payload"],
    timestamp: field.instant(wire, "timestamp"),
  };
  const metadata = optional(wire, "metadata", field.object);
  const seq = optional(wire, "seq", field.count);
  const position = optional(wire, "position", field.position);
  if (metadata !== undefined) message.metadata = readMetadata(metadata);
  if (seq !== undefined) message.seq = seq;
  if (position !== undefined) message.position = position;
  if (optional(wire, "replayed", field.flag) === true) message.replayed = true;
  return message;
}

const PRIORITIES: ReadonlySet<unknown> = new Set<Priority>(["low", "normal", "high", "urgent"]);

function readMetadata(wire: Wire): MessageMetadata {
  const metadata: MessageMetadata = {};
  const priority = wire["priority"];
  const expiresAt = optional(wire, "expiresAt", field.instant);
  const correlationId = optional(wire, "correlationId", field.text);
  const source = optional(wire, "source", field.text);
  if (PRIORITIES.has(priority)) metadata.priority = priority as Priority;
  if (expiresAt !== undefined) metadata.expiresAt = expiresAt;
  if (correlationId !== undefined) metadata.correlationId = correlationId;
  if (source !== undefined) metadata.source = source;
  return metadata;
}

function readAuthSuccess(wire: Wire): AuthSuccess {
  const heartbeat = field.object(wire, "heartbeat");
  const limits = optional(wire, "limits", field.object);
  return {
    type: "auth_success",
    sessionId: field.text(wire, "sessionId"),
    serverId: field.text(wire, "serverId"),
    resumed: field.flag(wire, "resumed"),
    subscriptions: field.list(wire, "subscriptions").map(readHeld),
    cursor: field.cursor(wire, "cursor"),
    heartbeat: {
      interval: field.amount(heartbeat, "interval"),
      timeout: field.amount(heartbeat, "timeout"),
    },
    retry: optional(wire, "retry", readRetry),
    frameBytes: limits && optional(limits, "frameBytes", field.count),
  };
}

function readHeld(value: unknown): HeldSubscription {
  if (!isWire(value)) throw new Unreadable("a subscription is not an object");
  return {
    subscriptionId: field.text(value, "subscriptionId"),
    topic: field.text(value, "topic"),
    createdAt: field.instant(value, "createdAt"),
  };
}

const STRATEGIES: ReadonlySet<unknown> = new Set<RetryStrategy>([
  "exponential",
  "linear",
  "fixed",
  "adaptive",
]);

function readRetry(parent: Wire, key: string): RetryAdvice {
  const wire = field.object(parent, key);
  const strategy = wire["strategy"];
  return {
    maxRetries: field.count(wire, "maxRetries"),
    initialDelay: field.amount(wire, "initialDelay"),
    maxDelay: field.amount(wire, "maxDelay"),
    backoffMultiplier: field.amount(wire, "backoffMultiplier"),
    jitter: field.flag(wire, "jitter"),
    strategy: STRATEGIES.has(strategy) ? (strategy as RetryStrategy) : DEFAULT_RETRY.strategy,
  };
}

function readError(wire: Wire): NotificationError {
  return new NotificationError(field.text(wire, "code"), field.text(wire, "message"), {
    temporary: optional(wire, "temporary", field.flag) ?? false,
    retryAfter: optional(wire, "retryAfter", field.amount),
    data: optional(wire, "data", field.object),
  });
}
