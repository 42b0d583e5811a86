"""The client: what an application asks of it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from bellwether_client.codec import codec_of
from bellwether_client.config import NotificationClientConfig, SubscriptionOptions
from bellwether_client.core import Core
from bellwether_client.cursor import Cursor
from bellwether_client.errors import NotificationError
from bellwether_client.events import EventListener
from bellwether_client.handle import Subscription
from bellwether_client.messages import (
    MessageHandler,
    Priority,
    PublishedMessage,
    ReplayResult,
)
from bellwether_client.replays import Replay
from bellwether_client.states import ConnectionState, StateListener
from bellwether_client.statistics import ConnectionStats
from bellwether_client.stream import MessageStream
from bellwether_client.subscription import LocalSubscription
from bellwether_client.surroundings import Surroundings

HANDLER_DEADLINE = 5.0
"""Seconds that running handlers have at `disconnect`; then they are cancelled."""


class NotificationClient:
    """A client of one server, for one event loop. It does nothing until `connect`.

    docs/clients/behaviour.md says in full how it behaves. Raises RuntimeError where the codec needs
    what is not installed.
    """

    def __init__(
        self, config: NotificationClientConfig, *, surroundings: Surroundings | None = None
    ) -> None:
        self._core = Core(config, surroundings or Surroundings(), codec_of(config.codec))
        self._streams: list[MessageStream] = []
        self._last_subscription = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._disconnecting = 0
        self._is_disconnected = asyncio.Event()
        self._core.on_end = self._connection_ended

    # --- Connection -----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect, or hurry a reconnection that waits; return when authenticated.

        Raises ConnectionError when retries are spent, or the server refuses for good.
        """
        self._check_loop()
        while self._disconnecting:  # it ends all tasks that there are
            self._is_disconnected.clear()
            await self._is_disconnected.wait()
        self._loop = asyncio.get_running_loop()
        await self._core.link.connect()

    async def disconnect(self) -> None:
        """Acknowledge, and close with 1000. What is still unanswered is rejected.

        Handlers that run have HANDLER_DEADLINE seconds; then they are cancelled. No task is left,
        save that of a handler which disconnects: it goes on.
        """
        self._check_loop()
        self._disconnecting += 1
        core = self._core
        core.finish()
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.disconnected()
            core.subscriptions.detach(stream.id)
        try:
            try:
                await core.link.disconnect()
            finally:
                await core.close(HANDLER_DEADLINE)
        finally:
            self._disconnecting -= 1
            if not self._disconnecting:
                self._loop = None
                self._is_disconnected.set()

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self.connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self.disconnect()

    # --- Subscriptions --------------------------------------------------------------------------

    def subscribe(
        self, topic: str, handler: MessageHandler, options: SubscriptionOptions | None = None
    ) -> Subscription:
        """Subscribe to a topic or pattern; await `ready()` of the result for the confirmation.

        handler: a function or coroutine function; it gets one message after the other.
        """
        return self._subscribe(topic, handler, options, None)

    def stream(self, topic: str, options: SubscriptionOptions | None = None) -> MessageStream:
        """Subscribe, and return the messages as an asynchronous iterator."""

        def subscribe(stream: MessageStream) -> LocalSubscription:
            return self._subscribe(topic, stream.take, options, stream.subscription_ended)

        stream = MessageStream(subscribe)
        self._streams = [one for one in self._streams if one.is_open]
        self._streams.append(stream)
        return stream

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription; an id that is unknown does nothing."""
        self._check_loop()
        self._core.subscriptions.remove(subscription_id)

    def _subscribe(
        self,
        topic: str,
        handler: MessageHandler,
        options: SubscriptionOptions | None,
        ended: Callable[[NotificationError | None], None] | None,
    ) -> LocalSubscription:
        self._check_loop()
        self._last_subscription += 1
        local = LocalSubscription(
            id=f"subscription-{self._last_subscription}",
            topic=topic,
            created_at=self._core.surroundings.instant(),
            handler=handler,
            options=options or SubscriptionOptions(),
            shared=self._core,
            ended=ended,
        )
        self._core.subscriptions.add(local)
        return local

    # --- Publishing and replaying ---------------------------------------------------------------

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        priority: Priority | None = None,
        expires_at: datetime | None = None,
        correlation_id: str | None = None,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> PublishedMessage:
        """Publish a message; return when it is durable. Without a connection it waits for one.

        payload: any JSON value. idempotency_key: 1 to 128 characters; a fresh one when None.
        Raises NotificationError: the server's refusal, or QUEUE_FULL, DROPPED, EXPIRED of the
        queue; ConnectionError when no connection will follow.
        """
        self._check_loop()
        metadata = {
            "priority": priority,
            "expiresAt": None if expires_at is None else _text_of(expires_at),
            "correlationId": correlation_id,
            "source": source,
        }
        known = {key: value for key, value in metadata.items() if value is not None}
        answer = self._core.outbox.publish(topic, payload, known, idempotency_key)
        try:
            return await answer
        except asyncio.CancelledError:
            self._core.outbox.withdraw(answer)
            raise

    async def replay(
        self,
        cursor: Cursor,
        *,
        subscription: Subscription | None = None,
        max_replay_age: int | None = None,
    ) -> ReplayResult:
        """Ask again for what follows a cursor, of one subscription or of all.

        It goes to the handlers even where they had it, marked `replayed`; other messages for them
        wait meanwhile. max_replay_age: milliseconds.
        Raises NotificationError: the server's refusal, or ENDED when the subscription has ended;
        ConnectionError when no connection will follow.
        """
        self._check_loop()
        if (end := self._core.end) is not None:
            raise end
        subscriptions = self._core.subscriptions
        entry, locals_ = None, subscriptions.locals()
        if subscription is not None:
            local = subscriptions.local(subscription.id)
            entry = subscriptions.entry_of(subscription.id)
            if local is None or entry is None:
                raise NotificationError("ENDED", "This subscription has ended.")
            locals_ = [local]
        answer: asyncio.Future[ReplayResult] = asyncio.get_running_loop().create_future()
        replay = Replay(
            kind="asked",
            entry=entry,
            locals=locals_,
            place=self._core.sendable.place(cursor, max_replay_age),
            max_age=max_replay_age,
            answer=answer,
        )
        self._core.replays.owe(replay)
        try:
            return await answer
        except asyncio.CancelledError:
            self._core.replays.withdraw(replay)
            raise

    # --- Looking --------------------------------------------------------------------------------

    def get_cursor(self) -> Cursor | None:
        """Return how far the handlers have come; None before the first connection."""
        return self._core.progress.cursor()

    def get_connection_state(self) -> ConnectionState:
        """Return the state of the connection."""
        return self._core.link.machine.state

    def on_state_change(self, listener: StateListener) -> Callable[[], None]:
        """Call the listener at each transition; returns what removes it."""
        return self._core.link.machine.listen(listener)

    def on_event(self, listener: EventListener) -> Callable[[], None]:
        """Call the listener for what no handler sees; returns what removes it."""
        return self._core.events.listen(listener)

    def get_stats(self) -> ConnectionStats:
        """Return figures."""
        return self._core.stats()

    def _check_loop(self) -> None:
        """Raise RuntimeError in another event loop than that of the connection, or in a thread:
        what is begun there would wait for ever."""
        is_free = self.get_connection_state().status == "disconnected" and not self._disconnecting
        if self._loop is not None and not is_free and self._loop is not _running_loop():
            text = (
                "This client is connected in another event loop: use it, and disconnect it, there."
            )
            raise RuntimeError(text)

    def _connection_ended(self, error: Exception) -> None:
        for stream in self._streams:
            stream.connection_ended(error)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _text_of(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("expires_at needs a time zone: datetime.now(UTC) has one.")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
