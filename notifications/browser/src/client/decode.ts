/** The one place where the server's frames are decoded and checked. */
import { DEFAULT_RETRY, type RetryPolicy, type RetryStrategy } from "./backoff.ts";
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
  [
    "refreshed",
    (wire) => ({
      type: "refreshed",
      id: requestId(wire, "id"),
      expiresIn: optional(wire, "expiresIn", field.amount),
    }),
  ],
  [
    "verified",
    (wire) => ({
      type: "verified",
      id: requestId(wire, "id"),
      inactive: field.objects(wire, "inactive").map((one) => ({
        subscriptionId: field.text(one, "subscriptionId"),
        code: field.text(one, "code"),
      })),
    }),
  ],
  [
    "disconnect",
    (wire) => ({
      type: "disconnect",
      code: field.count(wire, "code"),
      reason: field.text(wire, "reason"),
      reconnect: field.flag(wire, "reconnect"),
      retryAfter: optional(wire, "retryAfter", field.amount),
      health: optional(wire, "health", field.amount),
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
  const retry = optional(wire, "retry", field.object);
  return {
    type: "auth_success",
    sessionId: field.text(wire, "sessionId"),
    serverId: field.text(wire, "serverId"),
    resumed: field.flag(wire, "resumed"),
    subscriptions: field.objects(wire, "subscriptions").map(readHeld),
    cursor: field.cursor(wire, "cursor"),
    heartbeat: {
      interval: field.amount(heartbeat, "interval"),
      timeout: field.amount(heartbeat, "timeout"),
    },
    retry: retry && readRetry(retry),
    health: retry && optional(retry, "health", field.amount),
    expiresIn: optional(wire, "expiresIn", field.amount),
    frameBytes: limits && optional(limits, "frameBytes", field.count),
  };
}

function readHeld(wire: Wire): HeldSubscription {
  return {
    subscriptionId: field.text(wire, "subscriptionId"),
    topic: field.text(wire, "topic"),
    createdAt: field.instant(wire, "createdAt"),
  };
}

const STRATEGIES: ReadonlySet<unknown> = new Set<RetryStrategy>([
  "exponential",
  "linear",
  "fixed",
  "adaptive",
]);

function readRetry(wire: Wire): RetryPolicy {
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
