"""Close codes: section 5 of docs/protocol.md, each with what the client does about it.

The ranges carry the duty, so that a client obeys codes it has never heard of: 4000–4499
reconnect, 4500–4999 do not. Error codes are in notifications.errors.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Every WebSocket close code that a server sends or a client sees."""

    NORMAL = 1000  # The client asked. It stays disconnected (`client_initiated`).
    GOING_AWAY = 1001  # The peer leaves. Reconnect with backoff.
    WEBSOCKET_ERROR = 1002  # Broken WebSocket frames. Stop.
    UNSUPPORTED_DATA = 1003  # Binary where the codec is text, or the reverse. Stop.
    ABNORMAL = 1006  # Never sent: the connection broke. Reconnect with backoff.
    INVALID_UTF8 = 1007  # Text that is not UTF-8. Stop.
    POLICY_VIOLATION = 1008  # Stop.
    MESSAGE_TOO_BIG = 1009  # A WebSocket message over `limits.frameBytes`. Stop.
    INTERNAL_ERROR = 1011  # A defect of the server. Reconnect with backoff.
    SERVICE_RESTART = 1012  # Drain. Reconnect after `retryAfter`, resume.
    TRY_AGAIN_LATER = 1013  # Overload, admission refused. Reconnect after `retryAfter`.

    TOKEN_EXPIRED = 4401  # Get a token, reconnect.
    AUTH_TIMEOUT = 4402  # `auth` came too late. Reconnect with backoff.
    HEARTBEAT_MISSED = 4408  # Silent for too long. Reconnect (`timeout`).
    SLOW_CONSUMER = 4409  # The connection's buffer overflowed. Reconnect, resume.
    LOST_PLACE = 4410  # The server lost its place in the log. Reconnect, resume.
    REBALANCE = 4411  # Another server owns these topics now. Reconnect.
    RATE_LIMITED = 4429  # Rate or connection limit. Reconnect after `retryAfter`.

    PROTOCOL_ERROR = 4500  # Stop (`protocol_error`).
    AUTHENTICATION_FAILED = 4501  # Stop (`authentication_failed`).
    AUTH_EXPECTED = 4502  # The first frame was not `auth`. Stop (`protocol_error`).
    DISCONNECTED = 4503  # By an operator, or access revoked. Stop (`server_initiated`).
    TAKEN_OVER = 4504  # A newer `auth` has the session. Stop (`server_initiated`).


_RECONNECTING = frozenset({1001, 1006, 1011, 1012, 1013})


def reconnects(code: int) -> bool:
    """Say whether a client comes back after a close code, known or not."""
    return 4000 <= code <= 4499 or code in _RECONNECTING


def is_announced(code: int) -> bool:
    """Say whether a `disconnect` frame precedes a close code on an authenticated connection."""
    return 4000 <= code <= 4999 or code in (CloseCode.SERVICE_RESTART, CloseCode.TRY_AGAIN_LATER)


CLOSE_REASONS: dict[int, str] = {
    CloseCode.NORMAL: "closed at the client's request",
    CloseCode.GOING_AWAY: "going away",
    CloseCode.WEBSOCKET_ERROR: "broken WebSocket frame",
    CloseCode.UNSUPPORTED_DATA: "wrong kind of WebSocket message for this subprotocol",
    CloseCode.ABNORMAL: "connection lost",
    CloseCode.INVALID_UTF8: "text that is not UTF-8",
    CloseCode.POLICY_VIOLATION: "policy violation",
    CloseCode.MESSAGE_TOO_BIG: "message over the size limit",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.SERVICE_RESTART: "server is restarting",
    CloseCode.TRY_AGAIN_LATER: "server is overloaded",
    CloseCode.TOKEN_EXPIRED: "token expired",
    CloseCode.AUTH_TIMEOUT: "no auth frame in time",
    CloseCode.HEARTBEAT_MISSED: "heartbeat missed",
    CloseCode.SLOW_CONSUMER: "client reads too slowly",
    CloseCode.LOST_PLACE: "server lost its place in the log",
    CloseCode.REBALANCE: "topics moved to another server",
    CloseCode.RATE_LIMITED: "rate limit exceeded",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.AUTHENTICATION_FAILED: "authentication failed",
    CloseCode.AUTH_EXPECTED: "the first frame must be auth",
    CloseCode.DISCONNECTED: "disconnected by the server",
    CloseCode.TAKEN_OVER: "session taken over by a newer connection",
}
"""The reason that goes with a code when nobody has a better one; at most 123 bytes each."""
