"""What of the log a connection wants, found out from headlines before a message is read.

However little that is, what is looked at is bounded: finding it out costs the server, and one frame
asks for it. Where few topics are wanted only their headlines are read, however long the partition;
where nothing beyond an age is wanted, only what is younger; else all that lies in the range.
"""

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from notifications import metrics
from notifications.hub.pages import PAGE, Pages
from notifications.hub.turns import Turns
from notifications.hub.wanted import Caps, Wanted
from notifications.log.headlines import HEADLINES, Headline, first_since, read_headlines
from notifications.log.read import CHUNK, find_topics, read_at
from notifications.log.records import Record, now_ms
from notifications.recovery.cursor import Offsets

LOOKED_AT = 100_000
"""Messages that are looked at for one replay; ten times as many as it may bring, where that is
more. Over it, it is too much."""

FILTERED_BYTES = 67_108_864
"""Bytes of messages that are read for the filters of one replay before it is known whether it can
be whole. Over it, it is too much."""

SHARED_SPAN = 4 * PAGE
"""Offsets of a partition that are read for everybody when one client needs them; a client that
needs more is read for alone, and of its topics only if it has few."""

READ_BYTES = 262_144
"""Bytes that are read at once for one connection, unless one message has more."""

BREATH = 100
"""Messages after which other connections have their turn."""


class TooManyError(Exception):
    """More is wanted than may be replayed, or more would have to be looked at to know."""


class Found:
    """The messages of a partition that are wanted after one offset through another.

    Kept as numbers: as many as a replay may bring, 16 bytes each.
    """

    __slots__ = ("_offsets", "_sizes", "after", "through")

    def __init__(self, after: int, through: int, messages: Sequence[tuple[int, int]]) -> None:
        self.after = after
        self.through = through
        ordered = sorted(messages)
        self._offsets = array("q", (offset for offset, _ in ordered))
        self._sizes = array("q", (size for _, size in ordered))

    def next(self, after: int, *, count: int, size: int) -> Sequence[int]:
        """Return the offsets of the first messages after one: at most `count`, and of `size` bytes
        unless the first alone has more. Empty where there are none."""
        first = last = bisect_right(self._offsets, after)
        end = min(first + count, len(self._offsets))
        while last < end and (last == first or self._sizes[last] <= size):
            size -= self._sizes[last]
            last += 1
        return self._offsets[first:last]


class Survey:
    """Finds out what one connection wants.

    caps: how many messages that may be; None where it is not for a replay.
    """

    def __init__(
        self, pages: Pages, turns: Turns, wanted: Wanted, *, heads: Offsets, caps: Caps | None
    ) -> None:
        self._pages = pages
        self._turns = turns
        self._wanted = wanted
        self._heads = heads
        self._caps = caps
        self._most = max(LOOKED_AT, 10 * caps.total) if caps is not None else 0
        self._looked = 0
        self._total = 0
        self._filtered_bytes = 0
        self._by_policy: dict[str, int] = {}

    async def of_replay(self, starts: Mapping[int, int], through: Offsets) -> dict[int, Found]:
        """Return by partition what is wanted after its start, or raise TooManyError, Unavailable.

        Partitions in which nothing can be wanted any more are left out.
        """
        ranges = {partition: (start, through[partition]) for partition, start in starts.items()}
        if any(self._is_alone(partition, *span) for partition, span in ranges.items()):
            ranges = await self._not_too_old(ranges)
        topics: dict[int, list[int] | None] = {}
        span = 0
        for partition, (start, end) in ranges.items():
            if self._is_alone(partition, start, end):
                topics[partition] = await self._topics(partition)
                if topics[partition] is None:
                    span += end - start
        if span > self._most:
            raise TooManyError  # offsets have no gaps but what was purged: no need to look
        found = {}
        for partition, (start, end) in ranges.items():
            lines: AsyncGenerator[Sequence[Record | Headline], None] = (
                self._alone(partition, start, end, topics[partition])
                if partition in topics
                else self._shared(partition, start, end)
            )
            found[partition] = await self._find(partition, start, end, lines)
        return found

    async def of_range(self, partition: int, after: int, through: int) -> Found:
        """Return what is wanted of a range, whose length has to be bounded; raises Unavailable."""
        topics = await self._topics(partition)
        lines = self._alone(partition, after, through, topics)
        return await self._find(partition, after, through, lines)

    def _is_alone(self, partition: int, after: int, through: int) -> bool:
        missing = self._pages.missing(partition, after, through, most=SHARED_SPAN)
        return missing > SHARED_SPAN

    async def _not_too_old(
        self, ranges: Mapping[int, tuple[int, int]]
    ) -> dict[int, tuple[int, int]]:
        """Leave out what is older than anything that is wanted, as far as that is quickly known."""
        oldest = self._wanted.oldest()
        since = None
        if oldest is not None:
            since = await self._turns.read(first_since, now_ms() - oldest, limit=LOOKED_AT)
        if since is None:
            return dict(ranges)
        return {
            partition: (max(start, since[partition] - 1), end)
            for partition, (start, end) in ranges.items()
            if since.get(partition, end + 1) <= end
        }

    async def _topics(self, partition: int) -> list[int] | None:
        """Return the rows of the topics that are wanted where they are few; None for many."""
        return await self._turns.read(find_topics, partition, self._wanted.patterns())

    async def _shared(
        self, partition: int, after: int, through: int
    ) -> AsyncGenerator[Sequence[Record], None]:
        """Yield the messages of a range out of the pages, for which they are read where need be."""
        head = max(through, self._heads[partition])
        while after < through:
            end = min(through, (after // PAGE + 1) * PAGE)
            part = await self._pages.load(partition, after, end, head=head)
            yield [one.record for one in part.kept]
            after = end

    async def _alone(
        self, partition: int, after: int, through: int, topics: list[int] | None
    ) -> AsyncGenerator[Sequence[Headline], None]:
        """Yield the headlines of a range, of all topics (in order) or of some."""
        if topics is None:
            full = True
            while full and after < through:
                lines = await self._read(partition, after, through, None)
                yield lines
                full = len(lines) == HEADLINES
                after = lines[-1].offset if lines else through
            return
        todo = [(sorted(topics), after)]
        while todo:
            some, start = todo.pop()
            lines = await self._read(partition, start, through, some) if some else []
            yield lines
            if len(lines) == HEADLINES:
                last = lines[-1]
                todo.append(([topic for topic in some if topic > last.topic_id], after))
                todo.append(([last.topic_id], last.offset))

    async def _read(
        self, partition: int, after: int, through: int, topics: list[int] | None
    ) -> list[Headline]:
        metrics.replay_reads.inc()
        return await self._turns.read(
            read_headlines, partition, after, through, topics=topics, limit=HEADLINES
        )

    async def _find(
        self,
        partition: int,
        after: int,
        through: int,
        lines: AsyncGenerator[Sequence[Record | Headline], None],
    ) -> Found:
        messages: list[tuple[int, int]] = []
        doubtful: list[tuple[int, int]] = []
        async with aclosing(lines):
            async for some in lines:
                now = now_ms()
                self._looked += len(some)
                if self._caps is not None and self._looked > self._most:
                    raise TooManyError
                for number, line in enumerate(some, 1):
                    if number % BREATH == 0:
                        await asyncio.sleep(0)
                    if not self._wanted(line, partition, now):
                        continue
                    if self._is_open(line):
                        doubtful.append((line.offset, _size(line)))
                        continue
                    self._count(line.topic)
                    messages.append((line.offset, _size(line)))
        messages += await self._filtered(partition, Found(after, through, doubtful))
        return Found(after, through, messages)

    def _is_open(self, line: Record | Headline) -> bool:
        """Tell whether a filter has to see a message before it counts."""
        return (
            self._caps is not None
            and isinstance(line, Headline)
            and not self._wanted.is_certain(line.topic)
        )

    async def _filtered(self, partition: int, doubtful: Found) -> list[tuple[int, int]]:
        """Read messages of which headlines say too little; return those that are wanted."""
        wanted: list[tuple[int, int]] = []
        after = doubtful.after
        while offsets := doubtful.next(after, count=CHUNK, size=READ_BYTES):
            metrics.replay_reads.inc()
            records, _ = await self._turns.read(read_at, partition, offsets)
            now, after = now_ms(), offsets[-1]
            for number, record in enumerate(records, 1):
                if number % BREATH == 0:
                    await asyncio.sleep(0)
                self._filtered_bytes += _size(record)
                if self._filtered_bytes > FILTERED_BYTES:
                    raise TooManyError
                if self._wanted(record, partition, now):
                    self._count(record.topic)
                    wanted.append((record.offset, _size(record)))
        return wanted

    def _count(self, topic: str) -> None:
        caps = self._caps
        if caps is None:
            return
        self._total += 1
        if self._total > caps.total:
            raise TooManyError
        cap = caps.of(topic) if caps.of is not None else None
        if cap is not None:
            name, most = cap
            self._by_policy[name] = self._by_policy.get(name, 0) + 1
            if self._by_policy[name] > most:
                raise TooManyError


def _size(line: Record | Headline) -> int:
    if isinstance(line, Headline):
        return line.size
    return len(line.payload) + len(line.metadata)
