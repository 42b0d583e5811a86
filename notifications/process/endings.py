"""Connections that others ended: operators, newer sockets of the same client, revocations.

The bus says so at once. Whatever it loses is found in the database within ENDED_INTERVAL.
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.revocations import revoked_between
from notifications.database import in_database
from notifications.process.live import LiveConnection
from notifications.protocol.codes import CloseCode
from notifications.services.sessions import ended_lately, taken_lately

ENDED_INTERVAL = 1.5
"""Seconds between two looks for sessions that were ended, and credentials that were revoked,
elsewhere, whatever the bus said."""

REVOCATION_WINDOW = timedelta(minutes=1)
"""How far back revocations are looked for; older ones keep a client from authenticating at all."""

TAKEN_OVER = "The client connected anew."
"""What the older socket of a client is told."""


def take_over_message(handle: uuid.UUID, connects: int) -> dict[str, Any]:
    """Make the control message that closes a session's sockets before a certain one."""
    code = int(CloseCode.TAKEN_OVER)
    return {"close": str(handle), "code": code, "reason": TAKEN_OVER, "before": connects}


class Endings:
    """Closes connections of one server. connections, by_handle: the server's own books."""

    def __init__(
        self,
        server_id: str,
        connections: Collection[LiveConnection],
        by_handle: Mapping[uuid.UUID, LiveConnection],
    ) -> None:
        self._server_id = server_id
        self._connections = connections
        self._by_handle = by_handle

    def take_over(self, older: LiveConnection | None, connects: int) -> bool:
        """Close a socket that a newer one replaced; False when it is not that socket."""
        if older is None or older.connects >= connects:
            return False
        older.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
        return True

    def hear(self, message: dict[str, Any]) -> None:
        """Do what a control message says."""
        for subscription_id in message.get("dropped", ()):
            for connection in list(self._connections):
                connection.end_subscription(
                    subscription_id, code=None, reason="The subscription was ended by an operator."
                )
        if "close" not in message:
            return
        older = self._by_handle.get(uuid.UUID(message["close"]))
        if older is not None and older.connects < message.get("before", older.connects + 1):
            older.disconnect(int(message["code"]), str(message["reason"]))

    async def close_ended(self) -> None:
        """Close the sockets of sessions that were ended or resumed elsewhere."""
        if not self._by_handle:
            return
        ended = await in_database(ended_lately, self._server_id, now=timezone.now())
        for handle, reason in ended.items():
            connection = self._by_handle.get(handle)
            if connection is None:
                continue
            if reason == "taken_over":
                connection.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
            else:
                connection.disconnect(CloseCode.DISCONNECTED, "An operator ended the session.")
        taken = await in_database(taken_lately, self._server_id, now=timezone.now())
        for handle, connects in taken.items():
            self.take_over(self._by_handle.get(handle), connects)

    async def close_revoked(self) -> None:
        """Close the sockets whose credentials were revoked."""
        if not self._by_handle:
            return
        # The window overlaps the last look many times over: clocks of hosts differ.
        now = timezone.now()
        revoked = await in_database(revoked_between, now - REVOCATION_WINDOW, now)
        for connection in list(self._by_handle.values()):
            principal = connection.principal
            if principal is not None and (
                principal.family in revoked.families or principal.id in revoked.principals
            ):
                connection.revoke()
