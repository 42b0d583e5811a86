"""Carry out the requests of an authenticated client, one function for each frame type.

Publishes in a row share the group commit: they are handed in one after the other and answered
when they are durable. Any other request waits until they are answered, so replies come in the
order of the requests.
"""

import asyncio
from collections import deque

import structlog

from notifications.database import in_database
from notifications.errors import (
    BadCursor,
    InternalError,
    NotificationError,
    UnknownSubscription,
)
from notifications.gateway.authentication import authenticate
from notifications.gateway.connection import Connection
from notifications.gateway.places import reach_cursor, read_client_cursor
from notifications.gateway.refreshing import refresh
from notifications.gateway.subscribing import subscribe
from notifications.log.records import Publication, now_ms
from notifications.protocol.conversation import Action, Authenticate, Request, Send
from notifications.protocol.frames import (
    Ack,
    InactiveSubscription,
    Ping,
    Pong,
    Publish,
    Published,
    Refresh,
    Replay,
    RequestId,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    Verified,
    Verify,
)
from notifications.protocol.instants import format_instant
from notifications.recovery.cursor import Unrecovered, later
from notifications.services.publishing import appended, prepare
from notifications.services.subscriptions import (
    Removal,
    verify_subscriptions,
)
from notifications.services.writer import writer

IN_FLIGHT = 64
"""Publishes of one connection that may wait for their commit; more are read later."""

logger = structlog.get_logger(__name__)


def _failed() -> InternalError:
    return InternalError("The server failed on this request; its log says why. Retry.")


class Requests:
    """The requests of one connection, in order."""

    __slots__ = ("_connection", "_publishing")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Most connections never publish, so most never pay for the deque.
        self._publishing: deque[asyncio.Task[None]] | None = None

    async def carry_out(self, actions: list[Action]) -> None:
        """Carry out what one inbound message asked for."""
        for action in actions:
            if isinstance(action, Request) and isinstance(action.frame, Publish):
                await self._publish(action.frame)
                continue
            await self.settle()
            if isinstance(action, Send):
                self._connection.send(action.frame)
            elif isinstance(action, Authenticate):
                await authenticate(self._connection, action.frame)
            elif isinstance(action, Request):
                await self._request(action)

    async def settle(self) -> None:
        """Wait until all publishes of this connection are answered; their wait has a deadline."""
        while self._publishing:
            await self._publishing.popleft()

    async def _request(self, action: Request) -> None:
        frame = action.frame
        if isinstance(frame, Ping):
            self._pong(frame)
            return
        request_id: RequestId | None = getattr(frame, "id", None)
        try:
            match frame:
                case Subscribe():
                    await subscribe(self._connection, frame)
                case Unsubscribe():
                    await self._unsubscribe(frame)
                case Replay():
                    await self._replay(frame)
                case Verify():
                    await self._verify(frame)
                case Ack():
                    await self._ack(frame)
                case Refresh():
                    await refresh(self._connection, frame)
                case _:
                    raise AssertionError(f"the conversation let {type(frame)} through")
        except NotificationError as error:
            self._connection.send_error(error, request_id)
        except Exception:
            logger.exception("a request failed")
            self._connection.send_error(_failed(), request_id)

    def _pong(self, frame: Ping) -> None:
        connection = self._connection
        connection.send(
            Pong(
                t=frame.t,
                cursor=connection.process.hub.moved(connection.subscriber),
                server_time=format_instant(now_ms()),
            )
        )

    # --- publish ------------------------------------------------------------------------------

    async def _publish(self, frame: Publish) -> None:
        try:
            publication = prepare(
                topic=frame.topic,
                payload=bytes(frame.payload),
                metadata=frame.metadata,
                idempotency_key=frame.idempotency_key,
                principal=self._connection.principal,
            )
        except NotificationError as error:
            await self.settle()
            self._connection.send_error(error, frame.id)
            return
        if self._publishing is None:
            self._publishing = deque()
        while self._publishing and self._publishing[0].done():
            self._publishing.popleft()
        while len(self._publishing) >= IN_FLIGHT:
            await self._publishing.popleft()
        self._publishing.append(asyncio.create_task(self._append(frame, publication)))

    async def _append(self, frame: Publish, publication: Publication) -> None:
        try:
            outcome = appended((await writer().append_async([publication]))[0])
        except NotificationError as error:
            self._connection.send_error(error, frame.id)
        except Exception:
            logger.exception("a publish failed")
            self._connection.send_error(_failed(), frame.id)
        else:
            self._connection.send(
                Published(
                    id=frame.id,
                    message_id=outcome.id,
                    topic=outcome.topic,
                    timestamp=format_instant(outcome.published_at),
                    seq=outcome.seq if outcome.offset else None,
                    position=(outcome.partition, outcome.offset) if outcome.offset else None,
                    duplicate=outcome.duplicate or None,
                )
            )

    # --- unsubscribe, verify -------------------------------------------------------------------

    async def _unsubscribe(self, frame: Unsubscribe) -> None:
        connection = self._connection
        assert connection.principal is not None
        try:
            row = await connection.process.subscriptions.ask(
                Removal(connection.principal, connection.client_id, frame.subscription_id)
            )
        except UnknownSubscription:
            # Perhaps it was removed by a request that was given up, or from elsewhere.
            self._stop_delivering(frame.subscription_id)
            raise
        connection.process.hub.remove(connection.subscriber, row.pattern)
        connection.send(Unsubscribed(id=frame.id, subscription_id=frame.subscription_id))

    def _stop_delivering(self, subscription_id: str) -> None:
        subscriber = self._connection.subscriber
        for pattern, wish in list(subscriber.wishes.items()):
            if wish.id == subscription_id:
                self._connection.process.hub.remove(subscriber, pattern)

    # --- replay, ack ---------------------------------------------------------------------------

    async def _replay(self, frame: Replay) -> None:
        connection = self._connection
        await connection.replays.require_none()
        only = None
        if frame.subscription_id is not None:
            wishes = connection.subscriber.wishes
            only = next((p for p, w in wishes.items() if w.id == frame.subscription_id), None)
            if only is None:
                raise UnknownSubscription(
                    f"No subscription {frame.subscription_id!r} is in force on this connection; "
                    "auth_success and subscribed name those that are."
                )
        await reach_cursor(connection, frame.cursor)
        if connection.is_closing:
            return
        after = read_client_cursor(connection, frame.cursor)
        through = connection.process.hub.detach(connection.subscriber)
        connection.replays.start(
            after, through, request_id=frame.id, only=only, max_age=frame.max_replay_age
        )

    async def _ack(self, frame: Ack) -> None:
        connection = self._connection
        await reach_cursor(connection, frame.cursor)
        place = read_client_cursor(connection, frame.cursor)
        if isinstance(place, Unrecovered):
            raise BadCursor(
                "Acknowledge with a cursor of this log: its epoch, and offsets that exist."
            )
        connection.subscriber.acked = later(connection.subscriber.acked, place)
        assert connection.handle is not None
        connection.process.acknowledgements.note(
            connection.handle, connection.process.hub.identity.epoch, dict(enumerate(place))
        )

    async def _verify(self, frame: Verify) -> None:
        connection = self._connection
        assert connection.principal is not None
        active, unknown = await in_database(
            verify_subscriptions,
            connection.principal,
            client_id=connection.client_id,
            subscription_ids=list(frame.subscription_ids),
        )
        connection.send(
            Verified(
                id=frame.id,
                active=tuple(active),
                inactive=tuple(
                    InactiveSubscription(subscription_id=one, code="UNKNOWN_SUBSCRIPTION")
                    for one in unknown
                ),
            )
        )
