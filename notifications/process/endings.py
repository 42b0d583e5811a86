"""Connections that others ended (operators, newer sockets of the same client, revocations), and
subscriptions that others began or ended.

The bus says so at once. Whatever it loses is found in the database within ENDED_INTERVAL.
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts.revocations import revoked_between
from notifications.database import in_database
from notifications.process.live import LiveConnection
from notifications.protocol.codes import CloseCode
from notifications.services.outside_changes import changed_lately
from notifications.services.sessions import ended_lately, taken_lately

ENDED_INTERVAL = 1.5
"""Seconds between two looks for sessions that were ended, subscriptions that were changed, and
credentials that were revoked, elsewhere, whatever the bus said."""

OVERLAP = timedelta(seconds=15)
"""How far a look reaches back beyond the last one that succeeded: clocks of hosts differ, and what
happened while a client authenticated (9 s at most) is not seen before it has. Each look reads all
that ended within it, which is much where many clients come and go."""

TAKEN_OVER = "The client connected anew."
"""What the older socket of a client is told."""

DROPPED = "The subscription was ended over REST or by an operator."
"""What a client is told of a subscription that others ended."""


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
        # From the last success, not from now: what happened while the database was away counts.
        self._ended_seen_at = self._revoked_seen_at = timezone.now()

    def take_over(self, older: LiveConnection | None, connects: int) -> bool:
        """Close a socket that a newer one replaced; False when it is not that socket."""
        if older is None or older.connects >= connects:
            return False
        older.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
        return True

    def hear(self, message: dict[str, Any]) -> None:
        """Do what a control message says."""
        if dropped := frozenset(message.get("dropped", ())):
            self._drop(dropped)
        if "begun" in message and (begun := self._by_handle.get(uuid.UUID(message["begun"]))):
            begun.subscriptions_changed(datetime.fromisoformat(message["at"]))
        if "close" not in message:
            return
        older = self._by_handle.get(uuid.UUID(message["close"]))
        if older is not None and older.connects < message.get("before", older.connects + 1):
            older.disconnect(int(message["code"]), str(message["reason"]))

    def _drop(self, subscription_ids: frozenset[str]) -> None:
        # Nothing says whose they are: all connections are looked through, once for all the ids.
        for connection in list(self._connections):
            held = [wish.id for wish in connection.subscriber.wishes.values()]
            for subscription_id in subscription_ids.intersection(held):
                connection.end_subscription(subscription_id, code=None, reason=DROPPED)

    async def close_ended(self) -> None:
        """Close the sockets of sessions that were ended or resumed elsewhere; have subscriptions
        looked at that others changed. Raises Unavailable.

        What happened since the last call that succeeded is found, however long ago that was.
        """
        now = timezone.now()
        if self._by_handle:
            since = self._ended_seen_at - OVERLAP
            ended, taken, changed = await in_database(
                lambda: (
                    ended_lately(self._server_id, since=since),
                    taken_lately(self._server_id, since=since),
                    changed_lately(self._server_id, since=since),
                )
            )
            for handle, reason in ended.items():
                self._close(self._by_handle.get(handle), reason)
            for handle, connects in taken.items():
                self.take_over(self._by_handle.get(handle), connects)
            for handle, at in changed.items():
                if (connection := self._by_handle.get(handle)) is not None:
                    connection.subscriptions_changed(at)
        self._ended_seen_at = now

    def close(self, handle: uuid.UUID, connects: int, reason: str | None) -> None:
        """Close the socket of a session that ended, for a reason, or goes on (None) with another.

        connects: how many sockets the session has had.
        """
        connection = self._by_handle.get(handle)
        if not self.take_over(connection, connects) and reason is not None:
            self._close(connection, reason)

    def _close(self, connection: LiveConnection | None, reason: str) -> None:
        if connection is None:
            return
        if reason == "taken_over":
            connection.disconnect(CloseCode.TAKEN_OVER, TAKEN_OVER)
        else:
            connection.disconnect(CloseCode.DISCONNECTED, "An operator ended the session.")

    async def close_revoked(self) -> None:
        """Close the sockets whose credentials were revoked; raises Unavailable.

        What happened since the last call that succeeded is found, however long ago that was.
        """
        now = timezone.now()
        if self._by_handle:
            revoked = await in_database(revoked_between, self._revoked_seen_at - OVERLAP, now)
            anything = revoked.families or revoked.principals  # rarely, and sockets are many
            for connection in list(self._by_handle.values()) if anything else ():
                principal = connection.principal
                if principal is not None and (
                    principal.family in revoked.families or principal.id in revoked.principals
                ):
                    connection.revoke()
        self._revoked_seen_at = now
