/**
 * Errors that the client's promises reject with.
 *
 *     Error
 *     ├── NotificationError    a request was refused: by the server, or by the queue here
 *     └── ConnectionError      there is no connection
 */
import type { DisconnectReason } from "./types.ts";

/** A refused request. */
export class NotificationError extends Error {
  override readonly name = "NotificationError";
  /** One of section 4 of docs/protocol.md, or of the queue: QUEUE_FULL, DROPPED, EXPIRED. */
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
  /** Milliseconds until a retry is worth while. */
  readonly retryAfter: number | undefined;
  readonly data: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: string,
    message: string,
    details: {
      temporary?: boolean;
      retryAfter?: number | undefined;
      data?: Readonly<Record<string, unknown>> | undefined;
    } = {},
  ) {
    super(message);
    this.code = code;
    this.temporary = details.temporary ?? false;
    this.retryAfter = details.retryAfter;
    this.data = details.data;
  }
}

/** A connection that failed or ended. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly reason: DisconnectReason;
  /** The close code, where one came. */
  readonly closeCode: number | undefined;

  constructor(
    reason: DisconnectReason,
    message: string,
    details: { closeCode?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, "cause" in details ? { cause: details.cause } : undefined);
    this.reason = reason;
    this.closeCode = details.closeCode;
  }
}

/** Give back whatever was thrown as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
