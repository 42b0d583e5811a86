"""Counts what waits for handlers."""

from collections.abc import Callable

WAITING_BOUND = 10_000
"""Messages that may wait for handlers, all together; and those that one subscription holds back
for a replay, or a client for that of a lost session."""


class Backlog:
    """Counts the messages that wait for handlers, all subscriptions together.

    Bound: WAITING_BOUND. Policy: over it `changed` is called with True, who drops the connection;
    and with False when half have been handled. Metric: `get_stats().waiting`.
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self.count = 0
        self._is_full = False
        self._changed = changed

    def add(self, count: int) -> None:
        """Count so many more, or (below 0) fewer."""
        self.count += count
        if self._is_full != (self.count * 2 > WAITING_BOUND * (1 if self._is_full else 2)):
            self._is_full = not self._is_full
            self._changed(self._is_full)
