/**
 * Close codes, section 5 of docs/protocol.md. Their ranges carry the client's duty: 4000–4499
 * reconnect, 4500–4999 stop.
 */
import type { DisconnectReason } from "./types.ts";

export const CloseCode = {
  NORMAL: 1000, // the client asked
  GOING_AWAY: 1001,
  WEBSOCKET_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  ABNORMAL: 1006, // no close frame came
  INVALID_UTF8: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
  SERVICE_RESTART: 1012, // drain: reconnect after a small retryAfter
  TRY_AGAIN_LATER: 1013, // overload: reconnect after retryAfter
  TOKEN_EXPIRED: 4401, // get a token, reconnect
  AUTH_TIMEOUT: 4402,
  HEARTBEAT_MISSED: 4408,
  SLOW_CONSUMER: 4409,
  LOST_PLACE: 4410,
  REBALANCE: 4411,
  RATE_LIMITED: 4429, // reconnect after retryAfter
  PROTOCOL_ERROR: 4500,
  AUTHENTICATION_FAILED: 4501,
  AUTH_EXPECTED: 4502,
  DISCONNECTED: 4503, // by an operator, or access was revoked
  TAKEN_OVER: 4504,
} as const;

const RETRIED: ReadonlySet<number> = new Set([
  CloseCode.GOING_AWAY,
  CloseCode.ABNORMAL,
  CloseCode.INTERNAL_ERROR,
  CloseCode.SERVICE_RESTART,
  CloseCode.TRY_AGAIN_LATER,
]);

/** Whether to reconnect after a close. */
export function reconnects(code: number): boolean {
  return (code >= 4000 && code < 4500) || RETRIED.has(code);
}

const REASONS: ReadonlyMap<number, DisconnectReason> = new Map([
  [CloseCode.NORMAL, "client_initiated"],
  [CloseCode.ABNORMAL, "network_error"],
  [CloseCode.HEARTBEAT_MISSED, "timeout"],
  [CloseCode.AUTH_TIMEOUT, "timeout"],
  [CloseCode.TOKEN_EXPIRED, "authentication_failed"],
  [CloseCode.AUTHENTICATION_FAILED, "authentication_failed"],
  [CloseCode.WEBSOCKET_ERROR, "protocol_error"],
  [CloseCode.UNSUPPORTED_DATA, "protocol_error"],
  [CloseCode.INVALID_UTF8, "protocol_error"],
  [CloseCode.POLICY_VIOLATION, "protocol_error"],
  [CloseCode.MESSAGE_TOO_BIG, "protocol_error"],
  [CloseCode.PROTOCOL_ERROR, "protocol_error"],
  [CloseCode.AUTH_EXPECTED, "protocol_error"],
]);

/** Whose doing a close was, in the words of DisconnectReason. */
export function closeReason(code: number): DisconnectReason {
  return REASONS.get(code) ?? "server_initiated";
}

const MEANING: ReadonlyMap<number, string> = new Map([
  [CloseCode.NORMAL, "The server closed the connection."],
  [CloseCode.ABNORMAL, "The connection was lost."],
  [CloseCode.MESSAGE_TOO_BIG, "A message was too large."],
  [CloseCode.SERVICE_RESTART, "The server restarts."],
  [CloseCode.TRY_AGAIN_LATER, "The server has no room now."],
  [CloseCode.TOKEN_EXPIRED, "The access token expired."],
  [CloseCode.AUTH_TIMEOUT, "Authentication took too long."],
  [CloseCode.HEARTBEAT_MISSED, "The server heard nothing from this client."],
  [CloseCode.SLOW_CONSUMER, "Messages came faster than this client took them."],
  [CloseCode.LOST_PLACE, "The server lost its place in the log."],
  [CloseCode.REBALANCE, "Another server owns these topics now."],
  [CloseCode.RATE_LIMITED, "Too many requests or connections."],
  [CloseCode.PROTOCOL_ERROR, "The server did not understand this client."],
  [CloseCode.AUTHENTICATION_FAILED, "The server did not accept the token."],
  [CloseCode.AUTH_EXPECTED, "The first frame was not auth."],
  [CloseCode.DISCONNECTED, "An operator ended this session, or its access was revoked."],
  [CloseCode.TAKEN_OVER, "Another connection took this session over."],
]);

/** Say what a close code means, in one sentence. */
export function closeMeaning(code: number): string {
  return MEANING.get(code) ?? `The connection was closed with code ${code}.`;
}
