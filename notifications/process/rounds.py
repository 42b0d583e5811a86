"""Visiting connections: one timer for all of a process, whatever their number.

What connections do by the clock (pings, silence, tokens that expire) needs no exact time. So each
is visited once a round, a part of them at each tick, and no connection has a timer of its own.
"""

import asyncio
from typing import Protocol

import structlog

PARTS = 20
"""Ticks of a round: each visits one part of the connections, so that no turn is long."""

LAG_KEPT = 0.9
"""How much of a lag is still counted a tick later: a second's is forgotten within ten."""

ROUND = 5.0
"""Seconds in which every connection is visited once, unless heartbeats are more often."""

logger = structlog.get_logger(__name__)


class Visited(Protocol):
    """What is visited."""

    def check_deadlines(self, now: float) -> None:
        """Do what is due. now: the event loop's clock."""


class Rounds:
    """The connections of one event loop, in parts. heartbeat: seconds between two of a client.

    Bound: the connections that the process lets in.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, heartbeat: float) -> None:
        self._loop = loop
        self._parts: list[set[Visited]] = [set() for _ in range(PARTS)]
        self._tick = min(ROUND, heartbeat / 2) / PARTS
        self._next = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.lag = 0.0
        """Seconds by which the event loop was late lately: the worst tick, less each time."""

    def start(self) -> None:
        """Begin to visit."""
        self._plan(self._loop.time())

    def stop(self) -> None:
        """Visit nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def add(self, one: Visited) -> None:
        """Visit a connection within a round, and once in each that follows."""
        self._part_of(one).add(one)

    def remove(self, one: Visited) -> None:
        """Visit a connection no more."""
        self._part_of(one).discard(one)

    def _part_of(self, one: Visited) -> set[Visited]:
        return self._parts[(id(one) >> 6) % PARTS]  # addresses are multiples of at least 16

    def _plan(self, now: float) -> None:
        self._due = now + self._tick
        self._timer = self._loop.call_at(self._due, self._visit)

    def _visit(self) -> None:
        now = self._loop.time()
        self.lag = max(now - self._due, self.lag * LAG_KEPT)
        self._plan(now)
        part = self._parts[self._next]
        self._next = (self._next + 1) % PARTS
        for one in list(part):
            try:
                one.check_deadlines(now)
            except Exception:
                logger.exception("a connection's deadlines could not be checked")
