"""What happens to the sessions of a server process, written in batches.

Bound: `CHANGES_BOUND` changes may wait. Policy: over it the newest is dropped, and `lost` tells the
process to write the states of all live sessions anew. Metric: bellwether_session_writes_dropped.
"""

import asyncio
from collections import deque

import structlog

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.services.sessions import SessionChange, record_changes

CHANGES_BOUND = 50_000
"""Session changes that may wait to be written."""

CHANGES_PAUSE = 0.2
"""Seconds in which changes gather for one transaction."""

CHANGES_BATCH = 500
"""Changes in one transaction."""

RETRY_PAUSE = 1.0
"""Seconds until changes that could not be written are tried again."""

logger = structlog.get_logger(__name__)


class SessionChanges:
    """The queue of one server process and the task that empties it."""

    def __init__(self) -> None:
        self.lost = False
        self._waiting: deque[SessionChange] = deque()
        self._news = asyncio.Event()
        self._finishing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name="session-changes")

    def note(self, change: SessionChange) -> None:
        """Have a session's new state written soon."""
        if len(self._waiting) >= CHANGES_BOUND:
            metrics.session_writes_dropped.inc()
            self.lost = True
            return
        self._waiting.append(change)
        self._news.set()

    async def finish(self, *, within: float) -> None:
        """Write what waits, for so many seconds at most.

        The task is not cancelled: a batch that is being written must not land after whatever the
        caller writes next.
        """
        self._finishing = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)

    async def _write_for_ever(self) -> None:
        while not (self._finishing and not self._waiting):
            await self._news.wait()
            if not self._finishing:
                await asyncio.sleep(CHANGES_PAUSE)
            try:
                await self._write()
            except Exception as error:
                if not isinstance(error, Unavailable):
                    logger.exception("session changes could not be written")
                await asyncio.sleep(RETRY_PAUSE)
                self._news.set()

    async def _write(self) -> None:
        self._news.clear()
        while self._waiting:
            size = min(len(self._waiting), CHANGES_BATCH)
            batch = [self._waiting.popleft() for _ in range(size)]
            try:
                await in_database(record_changes, batch)
            except Exception:
                self._waiting.extendleft(reversed(batch))
                raise
