"""When connections are written to: in the next turn of the event loop, or when a window ends.

Bound: of each connection one entry for the next turn and one for later. One timer serves all
whose windows end within the same TICK, so what they share is written in one go.
"""

import asyncio
from typing import Protocol

import structlog

TICK = 0.005
"""Seconds to which the ends of windows are rounded up."""

logger = structlog.get_logger(__name__)


class Flushable(Protocol):
    """A connection that can be written to. tick: when it is planned to be; 0 for not."""

    tick: int

    def flush(self) -> None:
        """Write what waits."""


class Flusher:
    """What is to be written by an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next: list[Flushable] = []
        self._later: dict[int, dict[Flushable, None]] = {}

    def add(self, one: Flushable) -> None:
        """Have a connection written in the next turn."""
        if not self._next:
            self._loop.call_soon(self._flush_next)
        self._next.append(one)

    def plan(self, one: Flushable, *, within: float) -> None:
        """Have a connection written when so many seconds are over, or before if that is planned."""
        tick = int((self._loop.time() + within) / TICK) + 1
        if one.tick:
            if one.tick <= tick:
                return
            self.unplan(one)
        one.tick = tick
        bucket = self._later.get(tick)
        if bucket is None:
            bucket = self._later[tick] = {}
            self._loop.call_at(tick * TICK, self._flush_tick, tick)
        bucket[one] = None

    def unplan(self, one: Flushable) -> None:
        """Forget what was planned for a connection."""
        if one.tick:
            self._later[one.tick].pop(one, None)
            one.tick = 0

    def _flush_next(self) -> None:
        waiting, self._next = self._next, []
        for one in waiting:
            _flush(one)

    def _flush_tick(self, tick: int) -> None:
        for one in self._later.pop(tick):
            one.tick = 0
            _flush(one)


def _flush(one: Flushable) -> None:
    try:
        one.flush()
    except Exception:
        logger.exception("a connection could not be written to")
