"""What a connection has time for: its `auth`, signs of life, reading, and its token."""

import asyncio
import random
from typing import TYPE_CHECKING

from notifications.conf import conf
from notifications.log.records import now_ms
from notifications.protocol.codes import CloseCode
from notifications.protocol.frames import TokenExpiring
from notifications.protocol.states import State

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection
    from notifications.gateway.outbound import Transport

PATIENCE = (1.0, 1.5)
"""Heartbeat intervals of silence, of which each connection has one between these, after which its
peer's library is pinged. Whoever sends its heartbeats needs no pings."""

TOKEN_WARNING = 60_000
"""Milliseconds before its expiry at which a client is told about its token."""

TOKEN_GRACE = 10_000
"""Milliseconds after its expiry at which a connection is closed: clocks differ."""


class Deadlines:
    """The deadlines of one connection. heard: when its last frame came, by the loop's clock."""

    __slots__ = (
        "_auth",
        "_connection",
        "_patience",
        "_pinged_at",
        "_told_expiry",
        "_transport",
        "heard",
    )

    def __init__(self, connection: "Connection", transport: "Transport | None") -> None:
        loop = asyncio.get_running_loop()
        self._connection = connection
        self._transport = transport
        self.heard = loop.time()
        # Different ones, so that the pings to many who fell silent at once spread out.
        self._patience = random.uniform(*PATIENCE) * conf().heartbeat_interval  # noqa: S311
        self._pinged_at = 0.0
        self._told_expiry = False
        self._auth = loop.call_later(conf().auth_timeout, self._auth_too_late)

    def no_auth_is_due(self) -> None:
        """Wait for no `auth` any more."""
        self._auth.cancel()

    def _auth_too_late(self) -> None:
        self._connection.act(self._connection.conversation.auth_deadline_passed())

    def check(self, now: float) -> None:
        """Ping when it is time; close when the peer was silent for too long, does not read, or its
        token has expired.

        now: the event loop's clock.
        """
        connection, heard = self._connection, self.heard
        if self._transport is not None:
            heard = max(heard, self._transport.last_received)
            # The loop's clock has milliseconds, and an answer may come within the same one.
            if now - heard > self._patience and self._pinged_at <= heard:
                self._pinged_at = now
                self._transport.ping()
        if now - heard > 2 * conf().heartbeat_interval + conf().heartbeat_timeout:
            connection.act(connection.conversation.heartbeat_missed())
        elif connection.is_stuck(now):
            connection.close_slow()
        else:
            self.check_token()

    def token_changed(self) -> None:
        """Count from the expiry of the connection's new token."""
        self._told_expiry = False

    def check_token(self) -> None:
        """Tell the client when its token is about to expire; close when it has."""
        connection = self._connection
        if connection.principal is None or connection.principal.expires_at is None:
            return
        if connection.conversation.state is not State.OPEN:
            return
        left = int(connection.principal.expires_at * 1000) - now_ms()
        if left <= TOKEN_WARNING and not self._told_expiry:
            self._told_expiry = True
            connection.send(TokenExpiring(expires_in=max(left, 0)))
        if left < -TOKEN_GRACE:
            connection.disconnect(
                CloseCode.TOKEN_EXPIRED, "The access token expired. Connect with a fresh one."
            )
