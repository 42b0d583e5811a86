"""What a close code makes of the session whose socket it closed."""

from notifications.models import Session
from notifications.protocol.codes import CloseCode, reconnects

State = Session.State

_REASONS: dict[int, str] = {
    CloseCode.NORMAL: "client_initiated",
    CloseCode.GOING_AWAY: "client_left",
    CloseCode.SERVICE_RESTART: "server_stopped",
    CloseCode.TOKEN_EXPIRED: "token_expired",
    CloseCode.HEARTBEAT_MISSED: "timeout",
    CloseCode.SLOW_CONSUMER: "slow_consumer",
    CloseCode.PROTOCOL_ERROR: "protocol_error",
    CloseCode.AUTHENTICATION_FAILED: "authentication_failed",
    CloseCode.DISCONNECTED: "server_initiated",
    CloseCode.TAKEN_OVER: "taken_over",
}


def state_after_close(code: int) -> tuple[State, str]:
    """Return a session's state and reason after its socket closed with a code.

    It may resume for a while, so it is reconnecting, unless the code tells the client not to or
    the client asked for the end.
    """
    reason = _REASONS.get(
        code, "network_error" if reconnects(code) or code == 1005 else "protocol_error"
    )
    stays_away = code == CloseCode.NORMAL or not (reconnects(code) or code == 1005)
    return (State.DISCONNECTED if stays_away else State.RECONNECTING), reason
