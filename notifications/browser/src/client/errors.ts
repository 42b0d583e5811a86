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
  /** One of section 4 of docs/protocol.md, or of this client: see docs/clients/behaviour.md. */
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

/** What to do about it, by reason. */
const HINTS: Readonly<Record<DisconnectReason, string>> = {
  client_initiated: "Call connect() to come back.",
  server_initiated: "Ask the operator, or look for another client with this clientId.",
  network_error: "Check the URL, the network and the server.",
  authentication_failed: "Give `auth` a function that fetches a token.",
  timeout: "Check the URL, the network and the server.",
  protocol_error: "Check the URL and the versions of both sides.",
};

/** A connection that failed or ended. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly reason: DisconnectReason;
  /** What to do about it. */
  readonly hint: string;
  /** The close code, where one came. */
  readonly closeCode: number | undefined;

  constructor(
    reason: DisconnectReason,
    message: string,
    details: { closeCode?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, details);
    this.reason = reason;
    this.hint = HINTS[reason];
    this.closeCode = details.closeCode;
  }
}

/** Give back whatever was thrown as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
