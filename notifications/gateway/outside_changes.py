"""Bring into force, on an open connection, what others changed in its client's subscriptions.

The rows are read and compared with what is in force here, so it does not matter how often, how
late or in which order this is heard of.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from accounts.authentication import reload_principal
from accounts.errors import CredentialsError
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.gateway.refreshing import go_by
from notifications.gateway.replays import leaving_on_failure
from notifications.gateway.wishes import wish_of
from notifications.log.records import to_ms
from notifications.models import Subscription
from notifications.permissions import may_subscribe
from notifications.process.endings import DROPPED
from notifications.protocol.frames import Subscribed, SubscriptionOptions
from notifications.protocol.instants import format_instant
from notifications.recovery.cursor import Offsets, later
from notifications.services.outside_changes import read_held
from notifications.topics.partitions import partitions_of

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection


def changes_of(connection: "Connection") -> "OutsideChanges":
    """Return what looks for the changes of a connection; most connections never need one."""
    if connection.replays.changes is None:
        connection.replays.changes = OutsideChanges(connection)
    return connection.replays.changes


class OutsideChanges:
    """The changes of one connection's client; one look at a time.

    Bound: what is heard of while a look goes on leads to one more.
    """

    __slots__ = ("_connection", "_place", "_seen", "_task", "_wanted")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._place: Offsets = ()
        self._seen: datetime | None = None
        self._wanted: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def hear(self, at: datetime) -> None:
        """Look, unless that was done, or is being done, for a change at this instant."""
        connection = self._connection
        if not connection.subscriber.acked:
            return  # it is not open yet; the timer that finds what the bus lost comes again
        if at in (self._seen, self._wanted):
            return
        self._wanted = at
        hub = connection.process.hub
        # What comes from here on passes this connection by until the new subscriptions are known:
        # it is brought from the log then. So they miss nothing, however long that takes.
        self._place = hub.offsets()
        if self._task is None:
            hub.detach(connection.subscriber)
            self._task = asyncio.create_task(self._run(), name="outside-changes")

    def stop(self) -> None:
        """Bring nothing into force any more."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until a stopped look is over."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        connection = self._connection
        hub, subscriber = connection.process.hub, connection.subscriber
        try:
            async with leaving_on_failure(connection):
                while True:
                    await self._look_until_seen()
                    await hub.attach(subscriber)
                    if self._wanted is None or connection.is_closing:
                        return
                    # Heard of while the connection caught up.
                    self._place = hub.offsets()
                    hub.detach(subscriber)
        finally:
            self._task = None

    async def _look_until_seen(self) -> None:
        while (at := self._wanted) is not None and not self._connection.is_closing:
            try:
                await self._look(self._place)
            except Unavailable:
                self._wanted = None  # the timer comes again
                return
            self._seen = at
            if self._wanted == at:
                self._wanted = None

    async def _look(self, place: Offsets) -> None:
        """Compare with the database; place: what lies behind it comes by way of the log."""
        connection, hub = self._connection, self._connection.process.hub
        assert connection.principal is not None
        # Before the rows: what the client itself begins meanwhile is not taken for ended.
        before = {wish.id for wish in connection.subscriber.wishes.values()}
        rows, log = await in_database(read_held, connection.principal.id, connection.client_id)
        begun = [row for row in rows if row.begun_by and str(row.pk) not in before]
        await self._learn_grants(begun)
        await hub.follow(row.pattern for row in begun)
        # What they do not want lies behind us then: the hub gives to whoever is there.
        await hub.reach(log)
        for subscription_id in before - {str(row.pk) for row in rows}:
            connection.end_subscription(subscription_id, code=None, reason=DROPPED)
        for row in begun:
            await self._begin(row, place)

    async def _learn_grants(self, begun: Iterable[Subscription]) -> None:
        """Go by the grants of now where a subscription is within them only: they may be new."""
        principal = self._connection.principal
        if principal is None or all(may_subscribe(principal, row.pattern) for row in begun):
            return
        try:
            current = await in_database(reload_principal, principal)
        except CredentialsError:
            return  # it was revoked; another timer closes this connection
        if self._connection.principal is principal:  # no fresh token came meanwhile
            await go_by(self._connection, current)

    async def _begin(self, row: Subscription, place: Offsets) -> None:
        connection, subscriber = self._connection, self._connection.subscriber
        hub, principal = connection.process.hub, connection.principal
        if connection.is_closing or row.pattern in subscriber.wishes:
            return  # the client asked for it itself meanwhile, and was told that it has it
        if principal is None or not may_subscribe(principal, row.pattern):
            return  # the next `auth` tells the client
        partitions = hub.identity.partition_count
        wish = wish_of(row, epoch=hub.identity.epoch, partitions=partitions)
        begin = wish.begin or place
        hub.add(subscriber, row.pattern, replace(wish, begin=later(begin, place)))
        connection.send(
            Subscribed(
                subscription_id=str(row.pk),
                topic=row.pattern,
                options=msgspec.convert(row.options, SubscriptionOptions),
                created_at=format_instant(to_ms(row.created_at)),
                cursor=hub.cursor_at(begin),
            )
        )
        if any(begin[one] < place[one] for one in partitions_of(row.pattern, partitions)):
            # Published before this was heard of here.
            await connection.replays.bring(row.pattern, begin, place)
