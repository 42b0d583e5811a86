"""How connections ended: what a close code makes of a session, and what clients say of it later."""

from django.utils import timezone

from notifications import metrics
from notifications.models import Session
from notifications.protocol.codes import CloseCode, reconnects
from notifications.protocol.frames import Auth

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


CLIENT_REASONS = frozenset(
    {
        "client_initiated",
        "server_initiated",
        "network_error",
        "authentication_failed",
        "timeout",
        "protocol_error",
    }
)
"""What our client libraries say of the connection before; whatever else is sent is `other`."""


def note_return(auth: Auth) -> None:
    """Count what a client says of the connection before this one."""
    if auth.attempt is not None:
        metrics.connect_attempts.observe(auth.attempt)
    reason = auth.last_disconnect_reason
    if reason:
        metrics.reconnects.labels(reason if reason in CLIENT_REASONS else "other").inc()


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


class SessionState:
    """What a session's row is to say of the socket that serves it. ended: the session is over."""

    __slots__ = ("ended", "reason", "since", "state")

    def __init__(self) -> None:
        self.ended = False
        self.now_in(State.CONNECTING)

    def now_in(self, state: State, reason: str = "") -> None:
        """Take note of a state that begins now."""
        self.state, self.reason, self.since = state, reason, timezone.now()

    def left(self, code: int) -> bool:
        """Take note of a close; False when the socket had been left before."""
        if self.state not in (State.CONNECTING, State.CONNECTED):
            return False
        self.now_in(*state_after_close(code))
        return True
