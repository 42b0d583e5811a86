"""Asks for a sign of life, and notices its absence."""

import asyncio
from collections.abc import Callable

from bellwether_client.surroundings import Surroundings

SLEPT = 1_000.0
"""A deadline that fires this many milliseconds late says that we slept, not that the server is
gone."""


LEAST_INTERVAL = 100.0
"""Milliseconds between two pings at least, whatever a server says."""


class Heartbeat:
    """Pings every `interval`; any frame within `timeout` counts as life. Milliseconds.

    A ping on the way is not asked again: a second probe waits for the first one's deadline.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        interval: float,
        timeout: float,
        ping: Callable[[float], None],
        dead: Callable[[], None],
    ) -> None:
        self._surroundings = surroundings
        self._interval = max(interval, LEAST_INTERVAL)
        self._timeout = timeout
        self._ping = ping
        self._dead = dead
        self._beat: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._beat = self._surroundings.after(self._interval, self._pulse)

    def stop(self) -> None:
        """End."""
        for handle in (self._beat, self._deadline):
            if handle is not None:
                handle.cancel()
        self._beat = self._deadline = None

    def probe(self) -> None:
        """Ask now."""
        if self._deadline is None:
            self._ask(is_patient=True)

    def alive(self) -> None:
        """Note that a frame came."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _pulse(self) -> None:
        self.start()
        self.probe()

    def _ask(self, *, is_patient: bool) -> None:
        """is_patient: whether a late deadline asks again; once, or sleep would hide a death."""
        asked_at = self._surroundings.now()

        def missed() -> None:
            self._deadline = None
            late = self._surroundings.now() - asked_at - self._timeout
            if is_patient and late > SLEPT:
                self._ask(is_patient=False)
            else:
                self._dead()

        self._deadline = self._surroundings.after(self._timeout, missed)
        self._ping(self._surroundings.elapsed())
