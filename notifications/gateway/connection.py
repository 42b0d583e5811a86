"""One WebSocket connection: carries out what its conversation decides.

The rules are in protocol/conversation.py and the work in gateway/requests.py and services/. Here
are the two directions of one socket: inbound messages are handled one at a time, outbound frames
wait in one bounded buffer that gateway/outbound.py empties.
"""

import asyncio
import uuid
from datetime import datetime
from typing import Any

from accounts.principal import Principal
from notifications import metrics
from notifications.conf import conf
from notifications.errors import NotificationError
from notifications.gateway.admission import Admitted
from notifications.gateway.deadlines import Deadlines
from notifications.gateway.departures import SessionState
from notifications.gateway.farewell import Farewell
from notifications.gateway.outbound import Outbound, SendToPeer, Transport, outbound_of
from notifications.gateway.outside_changes import changes_of
from notifications.gateway.replays import Replays
from notifications.hub import Subscriber
from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded
from notifications.models import Session
from notifications.process import Process
from notifications.protocol.codes import CloseCode
from notifications.protocol.conversation import (
    Action,
    Authenticate,
    Close,
    Request,
    Send,
    ServerConversation,
    error_frame,
)
from notifications.protocol.frames import Gap, RequestId, ServerFrame, Unsubscribed
from notifications.resilience.bucket import TokenBucket
from notifications.services.sessions import SessionChange

DROPPED = "SLOW_CONSUMER"
"""The reason of a gap where ephemeral messages gave way because the peer did not keep up."""

_NOTHING = Buffer(
    0, wake=lambda within: None, overflow=lambda: None, dropped=lambda *arguments: None
)
"""The buffer of connections that are gone."""


class Connection:
    """A socket that was let in.

    Its buffer is bounded (NOTIFICATIONS_BUFFER_BYTES): a peer that does not read fills it, is
    closed with 4409 and may resume. Inbound messages are read one at a time, so a peer that sends
    faster than it is served is slowed down by TCP.
    """

    def __init__(
        self, process: Process, scope: dict[str, Any], send: SendToPeer, admitted: Admitted
    ) -> None:
        self.process = process
        self.codec = admitted.codec
        self.conversation = ServerConversation(
            admitted.codec, frame_bytes=conf().frame_bytes, health=process.health
        )
        self.principal: Principal | None = None
        self.client_id = ""
        self.handle: uuid.UUID | None = None
        self.connects = 0
        self._address: str | None = admitted.address
        self.replays = Replays(self)
        self.send_event = send
        self._loop = asyncio.get_running_loop()
        self.transport: Transport | None = scope.get("extensions", {}).get("bellwether.transport")
        self._deadlines = Deadlines(self, self.transport)
        self.outbound: Outbound = outbound_of(self.transport, scope, send, process.flusher)
        self.buffer = Buffer(
            conf().buffer_bytes,
            wake=self.outbound.wake,
            overflow=self._overflowed,
            dropped=lambda topic, count: self._tell_gap(topic, DROPPED, count=count),
        )
        self.outbound.start(self.buffer)
        self.subscriber = Subscriber(
            self.buffer, codec=self.codec, tell_gap=self._tell_gap, lost=self._lose_place
        )
        self._farewell: Farewell | None = None
        self._is_gone = False
        self._is_counted = False
        self.refreshes: TokenBucket | None = None
        self._state = SessionState()

    # --- Inbound ------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> list[Action]:
        """Take one WebSocket message from the peer; send and close at once what needs no work.

        Returns what needs work: Authenticate and Request actions, in order.
        """
        self._deadlines.heard = now = self._loop.time()
        metrics.frames_received.inc()
        return self._act(self.conversation.receive(data, now=now))

    def _act(self, actions: list[Action]) -> list[Action]:
        work: list[Action] = []
        for action in actions:
            if work and not isinstance(action, Close):
                work.append(action)  # replies keep the order of their requests
            elif isinstance(action, Send):
                self.send(action.frame)
            elif isinstance(action, Close):
                self._close(action)
            else:
                work.append(action)
        return work

    def act(self, actions: list[Action]) -> None:
        """Carry out actions that the conversation decided on and that need no work."""
        work = self._act(actions)
        assert not any(isinstance(action, Authenticate | Request) for action in work)

    # --- Outbound -----------------------------------------------------------------------------

    def send(self, frame: ServerFrame) -> None:
        """Queue a frame for the peer."""
        if not self.is_closing:
            self.buffer.push(Encoded(self.codec.encode(frame), self.codec))

    def send_error(self, error: NotificationError, request_id: RequestId | None) -> None:
        """Queue the answer to a request that is not granted."""
        metrics.errors_sent.labels(error.code).inc()
        self.send(error_frame(error, request_id))

    # --- Closing ------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether this side has decided to close; nothing is delivered any more."""
        return self._is_gone or self._farewell is not None

    def disconnect(self, code: int, reason: str, *, retry_after: int | None = None) -> None:
        """Close from the server's side, with the frame and code that the protocol asks for."""
        self.act(self.conversation.disconnect(code, reason, retry_after=retry_after))

    def end_subscription(self, subscription_id: str, *, code: str | None, reason: str) -> None:
        """Stop delivering what only this subscription wants, and say so; nothing if unknown."""
        for pattern, wish in list(self.subscriber.wishes.items()):
            if wish.id == subscription_id:
                self.process.hub.remove(self.subscriber, pattern)
                self.send(Unsubscribed(subscription_id=subscription_id, code=code, reason=reason))

    def subscriptions_changed(self, at: datetime) -> None:
        """Have what others changed in the client's subscriptions take effect soon."""
        if not self.is_closing:
            changes_of(self).hear(at)

    def _tell_gap(self, topic: str | None, reason: str, *, count: int | None = None) -> None:
        hub, splice = self.process.hub, self.subscriber.splice
        metrics.gaps_told.inc()
        # While it is fed from the log, what lies after its own place is still to come.
        place = self.replays.place or (splice.place if splice is not None else None)
        cursor = hub.cursor(self.subscriber) if place is None else hub.cursor_at(place)
        self.send(Gap(topic=topic, reason=reason, count=count, cursor=cursor))

    def _lose_place(self) -> None:
        # Called while the hub changes its books: what follows waits a turn.
        self._loop.call_soon(
            self.disconnect, CloseCode.LOST_PLACE, "The log has a new epoch. Resume."
        )

    def revoke(self) -> None:
        """Close because what this connection authenticated with was revoked; end its session."""
        self._state.ended = True
        self.disconnect(CloseCode.DISCONNECTED, "Access was revoked.")

    def _close(self, close: Close, words: list[Encoded] | None = None) -> None:
        """Close; words: frames behind all that waits, for a peer that was too slow."""
        if self.is_closing:
            return
        self._farewell = Farewell(self, close, words)
        self._deadlines.no_auth_is_due()
        self.replays.stop()
        self.process.hub.forget(self.subscriber)
        metrics.connections_closed.labels(str(int(close.code))).inc()
        self._left(close.code)

    def _overflowed(self) -> None:
        # Called in the middle of a fan-out: what follows changes the index, so it waits a turn.
        self._loop.call_soon(self.close_slow)

    def close_slow(self) -> None:
        """Close because the peer does not read what is sent to it; it may resume."""
        words: list[Encoded] = []
        actions = self.conversation.disconnect(
            CloseCode.SLOW_CONSUMER, "The connection did not read fast enough. Resume."
        )
        for action in actions:
            if isinstance(action, Send):
                words.append(Encoded(self.codec.encode(action.frame), self.codec))
            elif isinstance(action, Close):
                self._close(action, words)

    def is_stuck(self, now: float) -> bool:
        """Tell whether the peer has something to read and reads nothing of it."""
        return self.outbound.is_stuck(now)

    def check_deadlines(self, now: float) -> None:
        """Ping or close when it is time; now: the event loop's clock."""
        if not self.is_closing:
            self._deadlines.check(now)

    # --- The session's state ------------------------------------------------------------------

    def opened(
        self, principal: Principal, client_id: str, handle: uuid.UUID, connects: int
    ) -> None:
        """Note who this is and that the session's row says it is connected."""
        self._deadlines.no_auth_is_due()
        self.principal, self.client_id = principal, client_id
        self.handle, self.connects = handle, connects
        self._no_stranger()
        newest = self.process.by_handle.get(handle)
        if newest is None or newest.connects < connects:
            self.process.by_handle[handle] = self
        if not self.is_closing:
            self._state.now_in(Session.State.CONNECTED)
        elif (change := self.describe()) is not None:
            self.process.note(change)  # it was closed while its session was opened

    def renew(self, principal: Principal) -> None:
        """Go on as what a fresh token proved: its grants, its expiry, the family that ends it.

        Ask `check_token` afterwards.
        """
        self.principal = principal
        self.subscriber.changed()  # whoever remembers what it may read asks again
        self._deadlines.token_changed()

    def check_token(self) -> None:
        """Tell the client when its token is about to expire; close when it has."""
        self._deadlines.check_token()

    def count_for_user(self, *, replaces: bool) -> None:
        """Count this connection for its user; raises TooManyConnections.

        replaces: whether it takes the place of another that is still counted.
        """
        assert self.principal is not None
        self.process.gate.add_user(self.principal.id, replaces=replaces)
        self._is_counted = True

    def _no_stranger(self) -> None:
        if self._address is not None:
            self.process.gate.known(self._address)
            self._address = None

    def describe(self) -> SessionChange | None:
        """Return the state of the session as it is now, or None without one."""
        if self.handle is None:
            return None
        return SessionChange(
            handle=self.handle,
            server_id=self.process.server_id,
            connects=self.connects,
            state=self._state.state,
            reason=self._state.reason,
            since=self._state.since,
            messages_sent=self.subscriber.delivered,
            ended=self._state.ended,
        )

    def _left(self, code: int) -> None:
        if self._state.left(code) and (change := self.describe()) is not None:
            self.process.note(change)

    async def gone(self, code: int) -> None:
        """The peer's side is closed: end everything that belongs to this connection."""
        self.conversation.peer_closed()
        self._deadlines.no_auth_is_due()
        self._no_stranger()
        if self._is_counted and self.principal is not None:
            self.process.gate.remove_user(self.principal.id)
        if not self.is_closing:
            metrics.connections_closed.labels(str(code)).inc()
            self._left(code)
        self.replays.stop()
        self.process.hub.forget(self.subscriber)
        await self.replays.ended()
        await self.outbound.stop()
        if self._farewell is not None:
            await self._farewell.ended()
        if self.handle is not None and self.process.by_handle.get(self.handle) is self:
            del self.process.by_handle[self.handle]
        # What refers to this connection in turn. So no garbage collector has to look for it, and
        # its memory is free at once.
        self._is_gone = True
        self.outbound.buffer = _NOTHING
        del self.replays, self.subscriber, self.buffer, self.outbound, self._deadlines
