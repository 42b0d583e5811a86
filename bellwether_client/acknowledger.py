"""Tells the server now and then how far the handlers have come."""

import asyncio
from collections.abc import Callable

from bellwether_client.cursor import Cursor
from bellwether_client.tasks import Timers

EVERY = 5_000.0
"""Milliseconds between two looks at the cursor; one that has not moved is not sent again."""


class Acknowledger:
    """Sends `ack` with the cursor, when it moved, while there is a connection.

    An ack is cumulative and has no answer: one that is lost is made up for by the next.
    """

    def __init__(
        self,
        *,
        tell: Callable[[Cursor], None],
        timers: Timers,
        cursor: Callable[[], Cursor | None],
    ) -> None:
        self._send = tell
        self._timers = timers
        self._cursor = cursor
        self._told: Cursor | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, known: Cursor | None) -> None:
        """Begin on a connection. known: what the server knows of us; None: what an ack told."""
        self._told = known
        self._schedule()

    def stop(self) -> None:
        """End with the connection."""
        self._timers.cancel(self._timer)
        self._timer = None

    def finish(self) -> None:
        """Tell the last place, and stop; nothing where there is no connection."""
        if self._timer is not None:
            self._tell()
        self.stop()

    def _schedule(self) -> None:
        self._timers.cancel(self._timer)
        self._timer = self._timers.after(EVERY, self._look)

    def _look(self) -> None:
        self._tell()
        self._schedule()

    def _tell(self) -> None:
        cursor = self._cursor()
        if cursor is None or cursor == self._told:
            return
        self._told = cursor
        self._send(cursor)
