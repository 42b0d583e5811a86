"""Reads of the log for clients that catch up: a few at once, so that live delivery has its threads.

Bound: LINE reads of the process wait for their turn. Policy: over it, or after TURN_DEADLINE, a
read is refused as Unavailable; its client comes back after a while. Metrics:
bellwether_replay_reads_waiting, bellwether_replay_reads_refused.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""Reads at once: half of the threads that read the log (database.THREADS)."""

LINE = 5_000
"""Reads that wait: about as many as are done within TURN_DEADLINE where each is short."""

TURN_DEADLINE = 10.0
"""Seconds that a read may wait for its turn."""


class Turns:
    """The line of one process. Whoever has had a turn goes to its end, so who asks for much delays
    who asks for little by one read, however much that is."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether another read would be refused."""
        return self._waiting >= LINE

    async def read(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work on the database in its turn and return its result.

        Raises Unavailable where the line is too long, or the database away.
        """
        await self._wait()
        try:
            return await in_database(work, *args, **kwargs)
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if self.is_full:
            raise _refused()
        self._waiting += 1
        metrics.replay_reads_waiting.inc()
        try:
            async with asyncio.timeout(TURN_DEADLINE):
                await self._free.acquire()
        except TimeoutError as error:
            raise _refused() from error
        finally:
            self._waiting -= 1
            metrics.replay_reads_waiting.dec()


def _refused() -> Unavailable:
    metrics.replay_reads_refused.inc()
    return Unavailable("Too many clients catch up now. Try again shortly.", retry_after=1000)
