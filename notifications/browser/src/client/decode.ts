/** The one place where the server's frames are decoded and checked. */
import { DEFAULT_RETRY, type RetryStrategy } from "./backoff.ts";
import { NotificationError } from "./errors.ts";
import {
  Unreadable,
  type Wire,
  amount,
  count,
  cursor,
  flag,
  instant,
  isWire,
  listed,
  maybe,
  nested,
  object,
  position,
  requestId,
  shape,
  text,
  wrong,
} from "./fields.ts";
import type { ServerFrame } from "./frames.ts";
import type { Priority } from "./types.ts";

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
    const type = text(value, "type");
    const read = READERS.get(type);
    if (read === undefined) {
      sink.unknown(type);
      return;
    }
    frame = { type, ...read(value) } as ServerFrame; // the table says which goes with which
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    const { type } = (value ?? {}) as Wire;
    sink.unreadable(`${String(type).slice(0, 40)}: ${error.message}`);
    return;
  }
  sink.frame(frame);
}

const PRIORITIES: readonly unknown[] = ["low", "normal", "high", "urgent"];

const readMessage = shape({
  id: text,
  topic: text,
  timestamp: instant,
  metadata: maybe(
    nested(
      shape({
        // One of a later protocol is left out, and the message is not.
        priority: ({ priority }) => (PRIORITIES.includes(priority) ? (priority as Priority) : undefined),
        expiresAt: maybe(instant),
        correlationId: maybe(text),
        source: maybe(text),
      }),
    ),
  ),
  seq: maybe(count),
  position: maybe(position),
  replayed: ({ replayed }) => (replayed === true ? replayed : undefined),
});

const readErrorFields = shape({
  id: maybe(requestId),
  code: text,
  message: text,
  temporary: maybe(flag),
  retryAfter: maybe(amount),
  data: maybe(object),
});

const readRetry = shape({
  maxRetries: count,
  initialDelay: amount,
  maxDelay: amount,
  backoffMultiplier: amount,
  jitter: flag,
  // One of a later protocol is taken for exponential, as backoff.ts takes what it does not know.
  strategy: ({ strategy }) => (strategy ?? DEFAULT_RETRY.strategy) as RetryStrategy,
  health: maybe(amount),
});

type Type = ServerFrame["type"];
type Table = { [T in Type]: (wire: Wire) => Omit<Extract<ServerFrame, { type: T }>, "type"> };

const TABLE: Table = {
  message: (wire) => {
    if (!("payload" in wire)) return wrong("payload", "there");
    return { message: { ...readMessage(wire), payload: wire["payload"] } };
  },
  auth_success: shape({
    sessionId: text,
    serverId: text,
    resumed: flag,
    subscriptions: listed(
      shape({ subscriptionId: text, topic: text, options: maybe(object), createdAt: instant }),
    ),
    cursor,
    heartbeat: nested(shape({ interval: amount, timeout: amount })),
    retry: maybe(nested(readRetry)),
    limits: maybe(nested(shape({ frameBytes: maybe(count) }))),
    expiresIn: maybe(amount),
  }),
  subscribed: shape({ id: maybe(requestId), subscriptionId: text, topic: text }),
  unsubscribed: shape({
    id: maybe(requestId),
    subscriptionId: text,
    code: maybe(text),
    reason: maybe(text),
  }),
  published: shape({
    id: requestId,
    messageId: text,
    topic: text,
    timestamp: instant,
    seq: maybe(count),
    position: maybe(position),
    duplicate: ({ duplicate }) => (duplicate === true ? duplicate : undefined),
  }),
  replay_complete: shape({
    id: maybe(requestId),
    recovered: flag,
    count,
    cursor,
    reason: maybe(text),
  }),
  pong: shape({ t: maybe(amount), cursor }),
  gap: shape({ topic: maybe(text), reason: text, cursor }),
  token_expiring: () => ({}),
  refreshed: shape({ id: requestId, expiresIn: maybe(amount) }),
  verified: shape({
    id: requestId,
    inactive: listed(shape({ subscriptionId: text, code: text })),
  }),
  disconnect: shape({
    code: count,
    reason: text,
    reconnect: flag,
    retryAfter: maybe(amount),
    health: maybe(amount),
  }),
  error: (wire) => {
    const { id, code, message, ...details } = readErrorFields(wire);
    return { id, error: new NotificationError(code, message, details) };
  },
};

const READERS: ReadonlyMap<string, (wire: Wire) => object> = new Map(Object.entries(TABLE));
