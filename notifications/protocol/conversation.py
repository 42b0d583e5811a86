"""The server's side of a connection: WebSocket messages in, actions out.

No I/O, no clock, no waiting: the caller hands in what the peer sent and the time, and carries out
the actions in their order. Which event is legal when is a table, notifications.protocol.states.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from notifications.errors import BadFrame, NotificationError
from notifications.protocol.client_frames import Auth, ClientFrame
from notifications.protocol.codec import Codec
from notifications.protocol.codes import CLOSE_REASONS, CloseCode, is_announced, reconnects
from notifications.protocol.limits import AUTH_BYTES, BATCH_FRAMES, FRAME_BYTES
from notifications.protocol.refusals import SERVED, Refusal, unknown_type
from notifications.protocol.server_frames import AuthSuccess, Disconnect, Error, ServerFrame
from notifications.protocol.states import TRANSITIONS, EventKind, IllegalEvent, State

STRUCTURAL_FAULTS = 10
"""The structural fault within STRUCTURAL_WINDOW that closes the connection."""

STRUCTURAL_WINDOW = 60.0
"""Seconds."""

REASON_BYTES = 123
"""The longest close reason that fits a WebSocket control frame (RFC 6455, section 5.5)."""


class Send(Struct, frozen=True):
    """Send a frame."""

    frame: ServerFrame


class Authenticate(Struct, frozen=True):
    """Check these credentials, then call `authenticated` or `refuse_authentication`."""

    frame: Auth


class Request(Struct, frozen=True):
    """Carry out a request of the client; its type is in SERVED."""

    frame: ClientFrame


class Close(Struct, frozen=True):
    """Close the connection. reason: at most REASON_BYTES in UTF-8."""

    code: int
    reason: str


Action = Send | Authenticate | Request | Close

# What a refused authentication closes with. An error that time heals must not make the client
# stop for good, as 4501 does.
_REFUSALS = {
    "TOKEN_EXPIRED": CloseCode.TOKEN_EXPIRED,
    "RATE_LIMITED": CloseCode.RATE_LIMITED,
    "LIMIT_CONNECTIONS": CloseCode.RATE_LIMITED,
    "UNAVAILABLE": CloseCode.TRY_AGAIN_LATER,
    "OVERLOADED": CloseCode.TRY_AGAIN_LATER,
    "INTERNAL": CloseCode.INTERNAL_ERROR,
}


def error_frame(error: NotificationError, request_id: int | str | None = None) -> Error:
    """Write an error as the frame that answers a request."""
    return Error(
        id=request_id,
        code=error.code,
        message=error.message,
        temporary=error.temporary,
        retry_after=error.retry_after,
        data=error.data,
    )


class ServerConversation:
    """One connection, from its first message to its close.

    Holds at most BATCH_FRAMES messages of `frame_bytes` in all while AUTHENTICATING, and the
    times of the last STRUCTURAL_FAULTS faults.
    codec: the subprotocol's. frame_bytes: the largest WebSocket message. health: tells the
    server's, for clients that are to come back.
    """

    __slots__ = (
        "_auth_id",
        "_codec",
        "_faults",
        "_frame_bytes",
        "_health",
        "_held",
        "_held_bytes",
        "state",
    )

    def __init__(
        self,
        codec: Codec,
        *,
        frame_bytes: int = FRAME_BYTES,
        health: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.state = State.AWAITING_AUTH
        self._codec = codec
        self._frame_bytes = frame_bytes
        self._health = health
        self._auth_id: int | str | None = None
        self._held: list[tuple[bytes, float]] = []
        self._held_bytes = 0
        # Few connections ever have a fault, so most never pay for the deque.
        self._faults: deque[float] | None = None

    def receive(self, data: str | bytes, *, now: float) -> list[Action]:
        """Take one WebSocket message of the peer.

        now: seconds of a monotonic clock. What comes after CLOSED is dropped.
        """
        if self.state is State.CLOSED:
            return []
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        violation = self._violation(len(raw), is_text=isinstance(data, str))
        if violation is not None:
            return self._violate(violation)
        if self.state is State.AWAITING_AUTH:
            return self._receive_first(raw)
        self._step(EventKind.MESSAGE_RECEIVED)
        if self.state is State.AUTHENTICATING:
            return self._hold(raw, now)
        return self._receive_open(raw, now)

    def authenticated(self, success: AuthSuccess) -> list[Action]:
        """Open the connection, then take what the client sent in the meantime.

        success: gets the auth's id if it has none.
        """
        if self._is_over(EventKind.AUTHENTICATED):
            return []
        if success.id is None and self._auth_id is not None:
            success = replace(success, id=self._auth_id)
        actions: list[Action] = [Send(success)]
        held, self._held = self._held, []
        for raw, at in held:
            if self.state is State.OPEN:
                actions += self._receive_open(raw, at)
        return actions

    def refuse_authentication(self, error: NotificationError) -> list[Action]:
        """Answer the auth with an error and close.

        4401 for an expired token and 4501 for what trying again does not heal; 4429, 1013 or 1011
        for limits, overload and defects.
        """
        if self._is_over(EventKind.REFUSED):
            return []
        code = _REFUSALS.get(error.code, CloseCode.AUTHENTICATION_FAILED)
        return [Send(error_frame(error, self._auth_id)), _close(code)]

    def auth_deadline_passed(self) -> list[Action]:
        """Close with 4402, unless an auth has come."""
        was_awaiting = self.state is State.AWAITING_AUTH
        self._step(EventKind.DEADLINE_PASSED)
        return [_close(CloseCode.AUTH_TIMEOUT)] if was_awaiting else []

    def heartbeat_missed(self) -> list[Action]:
        """Close with 4408."""
        return self._end(EventKind.HEARTBEAT_MISSED, CloseCode.HEARTBEAT_MISSED)

    def disconnect(
        self, code: int, reason: str = "", *, retry_after: int | None = None
    ) -> list[Action]:
        """End the connection from the server's side.

        A `disconnect` frame goes first where section 5 of docs/protocol.md wants one.
        reason: for a person; the code's own when empty. retry_after: milliseconds.
        """
        return self._end(EventKind.DISCONNECTED, code, reason, retry_after)

    def peer_closed(self) -> None:
        """Note that the peer closed the connection or vanished."""
        self._step(EventKind.PEER_CLOSED)

    def _step(self, event: EventKind) -> None:
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise IllegalEvent(self.state, event)
        self.state = following
        if following is State.CLOSED:
            self._held = []

    def _is_over(self, event: EventKind) -> bool:
        """Take an event and say whether it came too late to matter."""
        was_closed = self.state is State.CLOSED
        self._step(event)
        return was_closed

    def _end(
        self, event: EventKind, code: int, reason: str = "", retry_after: int | None = None
    ) -> list[Action]:
        was_open = self.state is State.OPEN
        if self._is_over(event):
            return []
        close = _close(code, reason)
        if not (was_open and is_announced(code)):
            return [close]
        frame = Disconnect(
            code=code,
            reason=reason or close.reason,
            reconnect=reconnects(code),
            retry_after=retry_after,
            health=self._health() if reconnects(code) else None,
        )
        return [Send(frame), close]

    def _violation(self, size: int, *, is_text: bool) -> CloseCode | None:
        """Say what a message's size or kind closes the connection with, before it is decoded."""
        if size > self._frame_bytes:
            return CloseCode.MESSAGE_TOO_BIG
        if self.state is State.AWAITING_AUTH:
            is_wrong = is_text is not self._codec.text or size > AUTH_BYTES
            return CloseCode.AUTH_EXPECTED if is_wrong else None
        return None if is_text is self._codec.text else CloseCode.UNSUPPORTED_DATA

    def _violate(self, code: CloseCode) -> list[Action]:
        return self._end(EventKind.VIOLATED, code)

    def _receive_first(self, raw: bytes) -> list[Action]:
        decoded = self._codec.decode_inbound(raw)
        if isinstance(decoded, Auth):
            self._step(EventKind.AUTH_RECEIVED)
            self._auth_id = decoded.id
            return [Authenticate(decoded)]
        if isinstance(decoded, Refusal) and decoded.type == "auth":
            answer = Send(error_frame(decoded.error, decoded.id))
            return [answer, *self._violate(CloseCode.AUTHENTICATION_FAILED)]
        return self._violate(CloseCode.AUTH_EXPECTED)

    def _hold(self, raw: bytes, now: float) -> list[Action]:
        """Keep a message for after the authentication, undecoded: it may not be worth the work."""
        self._held_bytes += len(raw)
        if self._held_bytes > self._frame_bytes or len(self._held) == BATCH_FRAMES:
            return self._violate(CloseCode.PROTOCOL_ERROR)
        self._held.append((raw, now))
        return []

    def _receive_open(self, raw: bytes, now: float) -> list[Action]:
        decoded = self._codec.decode_inbound(raw)
        if not isinstance(decoded, list):
            return self._answer(decoded, now)
        actions: list[Action] = []
        for frame in decoded:
            actions += self._answer(frame, now)
            if self.state is State.CLOSED:
                break
        return actions

    def _answer(self, frame: ClientFrame | Refusal, now: float) -> list[Action]:
        if isinstance(frame, Refusal):
            answer = Send(error_frame(frame.error, frame.id))
            if frame.is_structural and self._is_fault_too_many(now):
                return [answer, *self._violate(CloseCode.PROTOCOL_ERROR)]
            return [answer]
        if type(frame) in SERVED:
            return [Request(frame)]
        error: NotificationError = unknown_type()
        if isinstance(frame, Auth):
            error = BadFrame("Send `auth` once, as the first frame.")
        return [Send(error_frame(error, getattr(frame, "id", None)))]

    def _is_fault_too_many(self, now: float) -> bool:
        if self._faults is None:
            self._faults = deque(maxlen=STRUCTURAL_FAULTS)
        self._faults.append(now)
        is_full = len(self._faults) == STRUCTURAL_FAULTS
        return is_full and now - self._faults[0] < STRUCTURAL_WINDOW


def _close(code: int, reason: str = "") -> Close:
    text = reason or CLOSE_REASONS.get(code, "")
    return Close(code, text.encode()[:REASON_BYTES].decode("utf-8", "ignore"))
