"""Requests and their replies, across reconnects."""

import asyncio
import itertools
from collections.abc import Callable

from notifications.client.connection import Connection, ConnectionEnded
from notifications.client.link import MAX_RETRY_AFTER, Link
from notifications.client.wire import Received
from notifications.errors import ERRORS, NotificationError
from notifications.protocol.frames import ClientFrame, Error

FrameOf = Callable[[int], ClientFrame]
"""Makes the frame of a request under a number; called again for each attempt."""


ASK_AGAIN = 1_000
"""Milliseconds until what was refused for now is asked again, when the server names no time."""


def wait_before_asking_again(error: NotificationError) -> float:
    """Return the seconds to wait after a refusal that is temporary."""
    return min(error.retry_after or ASK_AGAIN, MAX_RETRY_AFTER) / 1_000


class Requests:
    """The requests that await a reply.

    on_ask: called when somebody begins to wait.
    """

    def __init__(self, link: Link, *, on_ask: Callable[[], None]) -> None:
        self.waiting = 0
        self._link = link
        self._on_ask = on_ask
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Received]] = {}

    async def ask(self, frame: FrameOf) -> Received:
        """Send a request and return its reply; send it anew when the connection is lost.

        So a request must be safe to repeat. Raises the NotificationError that the server answers,
        and ConnectionEnded when there is no connection any more.
        """
        self.waiting += 1
        self._on_ask()
        try:
            lost: Connection | None = None
            while True:
                connection = await self._link.up(after=lost)
                try:
                    reply = await self._ask_on(connection, frame)
                except ConnectionEnded:
                    lost = connection
                    continue
                if isinstance(reply, Error):
                    kind = ERRORS.get(reply.code, NotificationError)
                    raise kind(reply.message, retry_after=reply.retry_after, data=reply.data)
                return reply
        finally:
            self.waiting -= 1

    async def _ask_on(self, connection: Connection, frame: FrameOf) -> Received:
        number = next(self._numbers)
        future: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            await connection.send(frame(number))
            return await future
        finally:
            del self._pending[number]

    def answer(self, frame: Received) -> None:
        """Give a reply to whoever awaits it; a reply that nobody awaits any more is dropped."""
        number = getattr(frame, "id", None)
        future = self._pending.get(number) if isinstance(number, int) else None
        if future is not None and not future.done():
            future.set_result(frame)

    def lost(self, ended: ConnectionEnded) -> None:
        """Tell all who wait that no reply will come over this connection."""
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ended)
