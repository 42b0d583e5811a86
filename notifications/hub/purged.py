"""What was purged, read once for all who may have missed it.

Whoever comes back from below a partition's floor has to be told whether what was purged there
concerns it. Many come back at once, and few of them are concerned, so the topics that were purged
last are read for all and compared in memory.

A partition's floor does not tell whether that is still true: a purge of older messages moves the
floor of their topic, and not the partition's. So what was read counts for whatever had been read
of the log before (`mark`), and for FRESH seconds for who begins.

Bound: TOPICS of each partition, and what of them PATTERNS patterns match. Policy: what lies below
the topics that are known is read for the one client who asks; of patterns all are let go and
matched anew. Metric: bellwether_replay_reads.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count

from notifications import metrics
from notifications.hub.turns import Turns
from notifications.hub.wanted import Wanted
from notifications.log.read import read_purged
from notifications.topics.grammar import is_pattern
from notifications.topics.matching import matches

TOPICS = 1_000
"""Topics with purged messages that are compared with what a client wants; where it may have missed
more than so many, it has missed something."""

PATTERNS = 100
"""Patterns for which it is remembered which of these topics they match."""

FRESH = 1.0
"""Seconds for which a reading serves those who begin a replay: as old as what a process knows of
the log may be. What is purged meanwhile is found when the pages are looked at."""

_marks = count(1)


def mark() -> int:
    """Return a number above all that were returned before, in whichever thread."""
    return next(_marks)


class _Reading:
    """The topics of a partition that were purged last.

    mark: of the moment before it was read. at: the loop's time then, or earlier.
    """

    __slots__ = ("_by_pattern", "_floors", "_topics", "at", "floor", "known_after", "mark")

    def __init__(self, topics: list[tuple[str, int]], *, mark: int, at: float) -> None:
        self.mark = mark
        self.at = at
        self.floor = topics[0][1] if topics else 0
        self.known_after = topics[-1][1] if len(topics) == TOPICS else 0
        self._topics = topics
        self._floors = dict(topics)
        self._by_pattern: dict[str, list[tuple[str, int]]] = {}

    async def matching(self, pattern: str) -> Sequence[tuple[str, int]]:
        """Return (topic, floor) of those that match a pattern, the highest floor first."""
        if not is_pattern(pattern):
            floor = self._floors.get(pattern)
            return [(pattern, floor)] if floor is not None else []
        found = self._by_pattern.get(pattern)
        if found is None:
            await asyncio.sleep(0)  # matching a thousand topics is a breath's work
            if len(self._by_pattern) >= PATTERNS:
                self._by_pattern.clear()
            found = [one for one in self._topics if matches(pattern, one[0])]
            self._by_pattern[pattern] = found
        return found


class Purged:
    """What one process knows of purges."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._readings: dict[int, _Reading] = {}
        self._reading: dict[int, asyncio.Task[_Reading]] = {}

    async def concerns(
        self, wanted: Wanted, partition: int, after: int, *, floor: int, seen: int | None = None
    ) -> bool:
        """Tell whether something that is wanted after an offset was purged; raises Unavailable.

        floor: of the partition, as far as it is known. seen: the mark of the moment up to which
        all purges count; None: of now, but for what was purged within FRESH under that floor.
        """
        now = asyncio.get_running_loop().time()
        asked = mark()

        def serves(reading: _Reading) -> bool:
            if seen is not None:
                return reading.mark > seen
            is_fresh = reading.floor >= floor and now - reading.at < FRESH
            return is_fresh or reading.mark > asked

        reading = self._readings.get(partition)
        while reading is None or not serves(reading):
            reading = await self._read(partition)
        return await self._is_concerned(wanted, partition, after, reading)

    async def _is_concerned(
        self, wanted: Wanted, partition: int, after: int, reading: _Reading
    ) -> bool:
        patterns = wanted.patterns()
        for pattern in patterns:
            for topic, floor in await reading.matching(pattern):
                if floor <= after:
                    break
                if wanted.by_place(topic, partition, floor):
                    return True
        if after >= reading.known_after:
            return False
        metrics.replay_reads.inc()
        purged = await self._turns.read(read_purged, partition, after, patterns, limit=TOPICS)
        return len(purged) == TOPICS or any(
            wanted.by_place(topic, partition, floor) for topic, floor in purged
        )

    async def _read(self, partition: int) -> _Reading:
        """Return a reading that ends after now, for all who want one; it may have begun before."""
        task = self._reading.get(partition)
        if task is None:
            task = self._reading[partition] = asyncio.create_task(self._load(partition))
            task.add_done_callback(partial(self._ended, partition))
        return await asyncio.shield(task)

    async def _load(self, partition: int) -> _Reading:
        at, readings = asyncio.get_running_loop().time(), self._readings
        metrics.replay_reads.inc()
        begun, topics = await self._turns.read(_read_marked, partition)
        reading = _Reading(topics, mark=begun, at=at)
        readings[partition] = reading
        return reading

    def _ended(self, partition: int, task: "asyncio.Task[_Reading]") -> None:
        if self._reading.get(partition) is task:
            del self._reading[partition]
        if not task.cancelled():
            task.exception()  # whoever waits gets it; it is no news when nobody does any more

    def clear(self) -> None:
        """Forget everything: the log has begun a new life."""
        self._readings = {}
        self._reading.clear()


def _read_marked(partition: int) -> tuple[int, list[tuple[str, int]]]:
    begun = mark()  # in the thread that reads: it may have waited for its turn for long
    return begun, read_purged(partition, 0, limit=TOPICS)
