"""Carry out `auth`: who this is, a session for the client, and what it holds in force."""

import msgspec

from accounts.principal import Principal
from notifications.conf import conf, retry_policies
from notifications.database import in_database
from notifications.errors import NotificationError
from notifications.gateway.connection import Connection
from notifications.gateway.departures import note_return
from notifications.gateway.places import read_client_cursor
from notifications.gateway.refreshing import expires_in, withdrawn_frame
from notifications.gateway.wishes import wish_of
from notifications.log.records import now_ms, to_ms
from notifications.models import Subscription
from notifications.permissions import may_subscribe
from notifications.protocol.codes import CloseCode
from notifications.protocol.frames import (
    Auth,
    AuthSuccess,
    Heartbeat,
    HeldSubscription,
    Limits,
    SubscriptionOptions,
)
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import BATCH_FRAMES, PAYLOAD_BYTES
from notifications.protocol.retries import policy_for
from notifications.recovery.cursor import Offsets, Unrecovered
from notifications.services.opening import ClientDescription, OpenedSession
from notifications.services.subscriptions import (
    MAX_PATTERNS,
    MAX_SUBSCRIPTIONS,
    drop_subscriptions,
)
from notifications.services.welcoming import Credentials
from notifications.topics.handling import window_of

CAPABILITIES = ("batch",)
"""Capabilities of a client that this server makes use of."""


async def authenticate(connection: Connection, frame: Auth) -> None:
    """Answer an `auth` frame: auth_success, or an error and a close."""
    process = connection.process
    try:
        principal, opened, state = await process.openings.ask(_credentials(frame))
    except NotificationError as error:
        connection.act(connection.conversation.refuse_authentication(error))
        return
    # The session is this connection's from here on: a newer one can take it over, and whatever
    # fails from now on is written into its row.
    older = process.by_handle.get(opened.handle)
    replaces = older is not None or opened.replaced in process.by_handle
    connection.opened(principal, frame.client_id, opened.handle, opened.connects)
    note_return(frame)
    if older is not None and older.connects > opened.connects:
        # The session was resumed again meanwhile, and that was answered first.
        connection.disconnect(CloseCode.TAKEN_OVER, "The session was taken over.")
        return
    if opened.replaced is not None or older is not None:
        # Also when the session's newest socket is gone: one before it may be open here still, if
        # the bus lost what should have closed it.
        replaced = opened.replaced or opened.handle
        await process.take_over(replaced, connects=opened.connects, here=older)
    try:
        connection.count_for_user(replaces=replaces)
        allowed, withdrawn = _split_by_grant(principal, opened.subscriptions)
        if withdrawn:
            await in_database(drop_subscriptions, [row.pk for row in withdrawn])
        await process.hub.follow(row.pattern for row in allowed)
        # The client may have been served by a process that was ahead of this one.
        await process.hub.reach(state)
    except NotificationError as error:
        connection.act(connection.conversation.refuse_authentication(error))
        return
    if connection.is_closing:
        return
    _bring_into_force(connection, frame, principal, opened, allowed)
    for row in withdrawn:
        connection.send(withdrawn_frame(str(row.pk), row.pattern))


def _credentials(frame: Auth) -> Credentials:
    client = frame.client
    description = ClientDescription(
        client_id=frame.client_id,
        name=(client.name or "")[:64] if client else "",
        version=(client.version or "")[:32] if client else "",
        kind=(client.kind or "") if client else "",
        capabilities=tuple(one for one in frame.capabilities or () if one in CAPABILITIES),
        attempt=min(frame.attempt or 0, 2**31 - 1),
        last_disconnect_reason=(frame.last_disconnect_reason or "")[:64],
    )
    resume = frame.resume.session_id if frame.resume is not None else None
    return Credentials(frame.token, description, resume)


def _split_by_grant(
    principal: Principal, subscriptions: tuple[Subscription, ...]
) -> tuple[list[Subscription], list[Subscription]]:
    allowed: list[Subscription] = []
    withdrawn: list[Subscription] = []
    for row in subscriptions:
        (allowed if may_subscribe(principal, row.pattern) else withdrawn).append(row)
    return allowed, withdrawn


def _bring_into_force(
    connection: Connection,
    frame: Auth,
    principal: Principal,
    opened: OpenedSession,
    allowed: list[Subscription],
) -> None:
    """Add the held subscriptions to the index and send auth_success, in one turn of the loop.

    So the cursor in it is exactly where they begin, or where the replay ends and they go on.
    """
    hub, subscriber = connection.process.hub, connection.subscriber
    hub.register(subscriber)
    _gather(connection, frame)
    for row in allowed:
        wish = wish_of(row, epoch=hub.identity.epoch, partitions=hub.identity.partition_count)
        hub.add(subscriber, row.pattern, wish)
    after: Offsets | Unrecovered = hub.offsets()
    if opened.resumed:
        through = hub.detach(subscriber)
        after = read_client_cursor(
            connection, frame.resume.cursor if frame.resume is not None else None
        )
    subscriber.acked = hub.offsets() if isinstance(after, Unrecovered) else after
    success = AuthSuccess(
        id=frame.id,
        session_id=opened.secret,
        server_id=connection.process.server_id,
        capabilities=tuple(one for one in frame.capabilities or () if one in CAPABILITIES),
        resumed=opened.resumed,
        subscriptions=tuple(_held(row) for row in allowed),
        cursor=hub.cursor_at(subscriber.acked) if opened.resumed else hub.cursor(subscriber),
        heartbeat=Heartbeat(
            interval=int(conf().heartbeat_interval * 1000),
            timeout=int(conf().heartbeat_timeout * 1000),
        ),
        retry=policy_for(
            frame.client.kind if frame.client is not None else None,
            retry_policies(),
            health=connection.process.health(),
        ),
        limits=_limits(),
        expires_in=expires_in(principal.expires_at),
        server_time=format_instant(now_ms()),
    )
    connection.act(connection.conversation.authenticated(success))
    connection.check_token()
    if opened.resumed:
        connection.replays.start(after, through, request_id=frame.id, after_resume=True)


def _gather(connection: Connection, frame: Auth) -> None:
    """Gather messages as the client asks, in arrays if it takes them."""
    wish = frame.batch
    most = wish.max_size if wish is not None else None
    if "batch" in (frame.capabilities or ()):
        connection.buffer.arrays = most or BATCH_FRAMES
    if wish is not None:
        connection.subscriber.client_window = window_of(most, wish.max_delay)
        connection.subscriber.changed()


def _held(row: Subscription) -> HeldSubscription:
    return HeldSubscription(
        subscription_id=str(row.pk),
        topic=row.pattern,
        options=msgspec.convert(row.options, SubscriptionOptions),
        created_at=format_instant(to_ms(row.created_at)),
        unasked=bool(row.begun_by) or None,
    )


def _limits() -> Limits:
    return Limits(
        frame_bytes=conf().frame_bytes,
        payload_bytes=PAYLOAD_BYTES,
        subscriptions=MAX_SUBSCRIPTIONS,
        patterns=MAX_PATTERNS,
        frames_per_second=0,  # no limit of rate is enforced yet, and 0 says so
        publishes_per_second=0,
        replay_messages=conf().replay_max_messages,
    )
