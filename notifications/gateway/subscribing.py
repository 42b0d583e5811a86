"""Carry out `subscribe`: kept, told, and from then on delivered, with what is replayed before."""

from dataclasses import replace

import msgspec
from django.utils import timezone

from notifications.database import in_database
from notifications.errors import AlreadySubscribed, NotificationError
from notifications.gateway.connection import Connection
from notifications.gateway.places import reach_cursor, since_place
from notifications.gateway.replays import leaving_on_failure, require_epoch
from notifications.gateway.wishes import wish_of
from notifications.log.records import to_ms
from notifications.protocol.frames import Subscribe, Subscribed, SubscriptionOptions
from notifications.protocol.instants import format_instant
from notifications.recovery.cursor import Offsets, Unrecovered, named
from notifications.services.subscriptions import Addition, check_subscription, find_subscription
from notifications.topics.filters import parse_filter


async def subscribe(connection: Connection, frame: Subscribe) -> None:
    """Carry out a `subscribe`; raises a NotificationError that answers it."""
    hub, subscriber = connection.process.hub, connection.subscriber
    assert connection.principal is not None
    pattern = check_subscription(connection.principal, frame.topic)
    options = frame.options or SubscriptionOptions()
    if options.filter is not None:
        parse_filter(options.filter)
    replays = options.since is not None or options.replay_missed is True
    if replays:
        await connection.replays.require_none()
    await hub.follow([pattern])
    if options.since is not None:
        await reach_cursor(connection, options.since)
    # From here on live messages pass this connection by, until it has been told that it is
    # subscribed: none goes out before that, and none after the cursor is missed.
    place = hub.detach(subscriber)
    cursor = hub.cursor_at(place)
    async with leaving_on_failure(connection):
        after = await _place_asked_for(connection, pattern, options, place) if replays else place
        begin = place if isinstance(after, Unrecovered) else after
        try:
            row = await connection.process.subscriptions.ask(
                Addition(
                    connection.principal,
                    connection.client_id,
                    pattern,
                    options=msgspec.to_builtins(options),
                    begin=named(begin),
                    epoch=cursor.epoch,
                    at=timezone.now(),
                )
            )
        except NotificationError as error:
            if isinstance(error, AlreadySubscribed):
                await _bring_into_force(connection, pattern, error, place)
            require_epoch(connection, cursor.epoch)
            connection.send_error(error, frame.id)
            await hub.attach(subscriber)
            return
        # Otherwise the row is kept for the client's next connection.
        require_epoch(connection, cursor.epoch)
        if connection.is_closing:
            return
        partitions = hub.identity.partition_count
        # Live it begins at its cursor; what it asked for from before comes as a replay.
        wish = wish_of(row, epoch=cursor.epoch, partitions=partitions)
        hub.add(subscriber, pattern, replace(wish, begin=place))
        connection.send(
            Subscribed(
                id=frame.id,
                subscription_id=str(row.pk),
                topic=pattern,
                created_at=format_instant(to_ms(row.created_at)),
                cursor=cursor,
            )
        )
        if replays:
            connection.replays.start(
                after, place, request_id=frame.id, only=pattern, ignore_begin=True
            )
        else:
            await hub.attach(subscriber)


async def _place_asked_for(
    connection: Connection, pattern: str, options: SubscriptionOptions, place: Offsets
) -> Offsets | Unrecovered:
    """Find where a new subscription's replay begins."""
    if options.since is None:
        return connection.subscriber.acked
    return await since_place(connection, pattern, options.since, place)


async def _bring_into_force(
    connection: Connection, pattern: str, error: AlreadySubscribed, place: Offsets
) -> None:
    """See that what the client is told it holds is delivered.

    Usually it is in force here already. If it is not (an earlier request was given up, but took
    effect; another socket of this client subscribed while this one began), it is now, as it was
    asked for: what `verify` and auth_success call active must be delivered.
    """
    subscription_id = str((error.data or {})["subscriptionId"])
    held = connection.subscriber.wishes.get(pattern)
    if held is not None and held.id == subscription_id:
        return
    hub = connection.process.hub
    row = await in_database(find_subscription, subscription_id)
    if row is None or connection.is_closing:
        return  # it has just been ended
    wish = wish_of(row, epoch=hub.identity.epoch, partitions=hub.identity.partition_count)
    hub.add(connection.subscriber, pattern, replace(wish, begin=place))
