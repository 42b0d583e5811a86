"""Messages as an asynchronous iterator."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bellwether_client.errors import NotificationError
from bellwether_client.messages import NotificationMessage
from bellwether_client.subscription import Abandoned, LocalSubscription


class MessageStream:
    """The messages of a subscription, for one consumer: a message counts as handled when the next
    is asked for.

    Use it with `async with`, or close it: then the subscription ends. It ends by itself when the
    client disconnects (the server keeps the subscription), raises NotificationError when the
    server refuses or ends the subscription, and ConnectionError when the connection has ended for
    good and all that came has been given.
    """

    def __init__(self, subscribe: Callable[["MessageStream"], LocalSubscription]) -> None:
        self._message: NotificationMessage[Any] | None = None
        self._given: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._is_closed = False
        self._end: Exception | None = None
        self._local = subscribe(self)

    @property
    def id(self) -> str:
        """The subscription's id here."""
        return self._local.id

    @property
    def topic(self) -> str:
        """The topic or pattern."""
        return self._local.topic

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return not self._is_closed

    async def ready(self) -> None:
        """Return when the server confirmed; raises its refusal as NotificationError."""
        await self._local.ready()

    async def aclose(self) -> None:
        """End the subscription."""
        self._is_closed = True
        self._local.unsubscribe()
        self._message = None
        self._let_go()
        self._changed.set()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """Return itself: there is one consumer."""
        return self

    async def __anext__(self) -> NotificationMessage[Any]:
        """Return the next message; the one before is handled."""
        if self._message is None:  # what waits here the consumer has not had
            self._let_go()
        while True:
            if self._message is not None:
                message, self._message = self._message, None
                return message
            end = self._end or self._local.connection_end
            if self._is_closed or (end is not None and self._local.is_idle):
                raise end or StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()

    # --- What the client tells ------------------------------------------------------------------

    async def take(self, message: NotificationMessage[Any]) -> None:
        """Be the handler: return when the consumer asks for the next."""
        if self._is_closed:
            raise Abandoned
        self._message = message
        self._given = asyncio.get_running_loop().create_future()
        self._changed.set()
        try:
            await self._given
        finally:
            self._changed.set()

    def subscription_ended(self, error: NotificationError | None) -> None:
        """Note that the subscription ended."""
        if error is not None and not self._is_closed:
            self._end = error
        self._is_closed = True
        self._changed.set()

    def connection_ended(self, error: Exception) -> None:
        """Note that nothing more will come."""
        self._end = error
        self._changed.set()

    def disconnected(self) -> None:
        """Note that the client is disconnected; what the consumer has is not handled."""
        self._is_closed = True
        self._message = None
        given, self._given = self._given, None
        if given is not None and not given.done():
            given.set_exception(Abandoned())
        self._changed.set()

    def _let_go(self) -> None:
        given, self._given = self._given, None
        if given is not None and not given.done():
            given.set_result(None)
