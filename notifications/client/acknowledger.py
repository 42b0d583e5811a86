"""Tells the server now and then how far the application has come."""

import asyncio
from collections.abc import Callable

from notifications.client.connection import CLOSE_TIMEOUT, ConnectionEnded
from notifications.client.link import Link
from notifications.protocol.frames import Ack, Cursor

EVERY = 5.0
"""Seconds between two looks at the cursor; one that has not moved is not sent again."""


class Acknowledger:
    """Sends `ack` with the cursor of what was handled, when it moved.

    handled: how far the application is. An ack is cumulative and has no answer: one that is lost
    with its connection is made up for by the next.
    """

    def __init__(self, link: Link, handled: Callable[[], Cursor | None]) -> None:
        self._link = link
        self._handled = handled
        self._told: Cursor | None = None
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._runner = asyncio.create_task(self._run(), name="notifications-acknowledger")

    def connected(self, known: Cursor | None) -> None:
        """Note what the server of a new connection knows of us; None: whatever an ack told."""
        self._told = known

    async def close(self) -> None:
        """Tell the last place, and stop."""
        if self._runner is None:
            return
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        self._runner = None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._tell()
        except TimeoutError:
            pass  # the server reads no more; it will send again what it holds to be unhandled

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self._tell()

    async def _tell(self) -> None:
        connection, here = self._link.connection, self._handled()
        if connection is None or here is None or here == self._told:
            return
        try:
            await connection.send(Ack(cursor={"epoch": here.epoch, "offsets": here.offsets}))
        except ConnectionEnded:
            return
        if connection is self._link.connection:
            self._told = here
