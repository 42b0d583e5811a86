"""Close codes: section 5 of docs/protocol.md, and what this client makes of them.

Their ranges carry the duty: 4000-4499 reconnect, 4500-4999 stop.
"""

from enum import IntEnum
from typing import Literal

DisconnectReason = Literal[
    "client_initiated",
    "server_initiated",
    "network_error",
    "authentication_failed",
    "timeout",
    "protocol_error",
]
"""Whose doing the end of a connection was."""


class CloseCode(IntEnum):
    """The codes that this client knows by name."""

    NORMAL = 1000  # the client asked
    GOING_AWAY = 1001
    WEBSOCKET_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    ABNORMAL = 1006  # no close frame came
    INVALID_UTF8 = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012  # drain: reconnect after a small retryAfter
    TRY_AGAIN_LATER = 1013  # overload: reconnect after retryAfter
    TOKEN_EXPIRED = 4401  # get a token, reconnect
    AUTH_TIMEOUT = 4402
    HEARTBEAT_MISSED = 4408
    SLOW_CONSUMER = 4409
    LOST_PLACE = 4410
    REBALANCE = 4411
    RATE_LIMITED = 4429  # reconnect after retryAfter
    PROTOCOL_ERROR = 4500
    AUTHENTICATION_FAILED = 4501
    AUTH_EXPECTED = 4502
    DISCONNECTED = 4503  # by an operator, or access was revoked
    TAKEN_OVER = 4504


_RETRIED = frozenset({1001, 1006, 1011, 1012, 1013})

_REASONS: dict[int, DisconnectReason] = {
    CloseCode.NORMAL: "client_initiated",
    CloseCode.ABNORMAL: "network_error",
    CloseCode.HEARTBEAT_MISSED: "timeout",
    CloseCode.AUTH_TIMEOUT: "timeout",
    CloseCode.TOKEN_EXPIRED: "authentication_failed",
    CloseCode.AUTHENTICATION_FAILED: "authentication_failed",
    CloseCode.WEBSOCKET_ERROR: "protocol_error",
    CloseCode.UNSUPPORTED_DATA: "protocol_error",
    CloseCode.INVALID_UTF8: "protocol_error",
    CloseCode.POLICY_VIOLATION: "protocol_error",
    CloseCode.MESSAGE_TOO_BIG: "protocol_error",
    CloseCode.PROTOCOL_ERROR: "protocol_error",
    CloseCode.AUTH_EXPECTED: "protocol_error",
}

_MEANINGS: dict[int, str] = {
    CloseCode.NORMAL: "The server closed the connection.",
    CloseCode.ABNORMAL: "The connection was lost.",
    CloseCode.MESSAGE_TOO_BIG: "A message was too large.",
    CloseCode.SERVICE_RESTART: "The server restarts.",
    CloseCode.TRY_AGAIN_LATER: "The server has no room now.",
    CloseCode.TOKEN_EXPIRED: "The access token expired.",
    CloseCode.AUTH_TIMEOUT: "Authentication took too long.",
    CloseCode.HEARTBEAT_MISSED: "The server heard nothing from this client.",
    CloseCode.SLOW_CONSUMER: "Messages came faster than this client took them.",
    CloseCode.LOST_PLACE: "The server lost its place in the log.",
    CloseCode.REBALANCE: "Another server owns these topics now.",
    CloseCode.RATE_LIMITED: "Too many requests or connections.",
    CloseCode.PROTOCOL_ERROR: "The server did not understand this client.",
    CloseCode.AUTHENTICATION_FAILED: "The server did not accept the token.",
    CloseCode.AUTH_EXPECTED: "The first frame was not auth.",
    CloseCode.DISCONNECTED: "An operator ended this session, or its access was revoked.",
    CloseCode.TAKEN_OVER: "Another connection took this session over.",
}


def reconnects(code: int) -> bool:
    """Tell whether to reconnect after a close code, known or not."""
    return 4000 <= code <= 4499 or code in _RETRIED


def close_reason(code: int) -> DisconnectReason:
    """Say whose doing a close was."""
    return _REASONS.get(code, "server_initiated")


def close_meaning(code: int) -> str:
    """Say what a close code means, in one sentence."""
    return _MEANINGS.get(code, f"The connection was closed with code {code}.")
