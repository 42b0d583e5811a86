"""When all that a connection has to restore has been answered."""

import asyncio
from collections.abc import Callable

from bellwether_client.tasks import Timers

DEADLINE = 10_000.0
"""Milliseconds that the publishes wait for the subscriptions: one without an answer does not hold
them up for ever."""


class Restoring:
    """done: told once on each connection."""

    def __init__(self, timers: Timers, done: Callable[[], None]) -> None:
        self._timers = timers
        self._done = done
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Begin on a connection."""
        self.stop()
        self._deadline = self._timers.after(DEADLINE, self.finish)

    def stop(self) -> None:
        """End with the connection."""
        self._timers.cancel(self._deadline)
        self._deadline = None

    def finish(self) -> None:
        """Tell that all has been answered, or that it is waited for no longer."""
        if self._deadline is not None:
            self.stop()
            self._done()
