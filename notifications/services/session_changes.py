"""What happens to the sessions of a server process, written in batches.

Bound: `CHANGES_BOUND` changes may wait. Policy: over it the newest is dropped, and `lost` tells the
process to write the states of all live sessions anew. Metric: bellwether_session_writes_dropped.
"""

from collections import deque

from notifications import metrics
from notifications.services.batches import BatchWriter
from notifications.services.sessions import SessionChange, record_changes

CHANGES_BOUND = 50_000
"""Session changes that may wait to be written."""

CHANGES_PAUSE = 0.2
"""Seconds in which changes gather for one transaction."""

CHANGES_BATCH = 500
"""Changes in one transaction."""


class SessionChanges(BatchWriter[SessionChange]):
    """The queue of one server process and the task that empties it."""

    def __init__(self) -> None:
        super().__init__(name="session-changes", pause=CHANGES_PAUSE)
        self.lost = False
        self._waiting: deque[SessionChange] = deque()

    def note(self, change: SessionChange) -> None:
        """Have a session's new state written soon."""
        if len(self._waiting) >= CHANGES_BOUND:
            metrics.session_writes_dropped.inc()
            self.lost = True
            return
        self._waiting.append(change)
        self._wake()

    def _take(self) -> list[SessionChange]:
        size = min(len(self._waiting), CHANGES_BATCH)
        return [self._waiting.popleft() for _ in range(size)]

    def _put_back(self, batch: list[SessionChange]) -> None:
        self._waiting.extendleft(reversed(batch))

    def _write(self, batch: list[SessionChange]) -> None:
        record_changes(batch)
