"""The replay cache: recent messages of the log, in memory, so that many who come back read it once.

Messages are kept in pages of PAGE offsets of one partition. Live delivery fills the newest page;
what is older is read when somebody wants it, once for all who want it at the same time.

Bound: bytes (estimated) of all pages. Policy: the page that was used least recently is let go; it
can be read again. Metrics: bellwether_replay_cache_bytes, bellwether_replay_reads.
"""

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from notifications import metrics
from notifications.hub.encoded import Encoded, encode_record
from notifications.hub.purged import mark
from notifications.log.read import Reading
from notifications.log.records import Record
from notifications.protocol.codec import Codec
from notifications.recovery.cursor import MAX_OFFSET

PAGE = 500
"""Offsets of a page."""

OVERHEAD = 700
"""Bytes that a message takes in memory besides its payload in up to FORMS forms."""

FORMS = 5
"""As it is in the log; and, where somebody is fed from here, in each codec encoded and framed."""

Read = Callable[[int, int, int], Awaitable[Reading]]
"""Reads (partition, after, through)."""


class Kept:
    """A message in memory, with its frames once somebody wanted them."""

    __slots__ = ("_frames", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._frames: dict[tuple[Codec, bool], Encoded] | None = None

    def frame(self, codec: Codec, *, replayed: bool) -> Encoded:
        """Return its frame in a codec, made once for all who get it."""
        if self._frames is None:
            self._frames = {}
        frame = self._frames.get((codec, replayed))
        if frame is None:
            frame = encode_record(self.record, codec, replayed=replayed)
            self._frames[codec, replayed] = frame
        return frame


class Part(NamedTuple):
    """Messages of a page. floor: under which they were read. mark: of when that was done."""

    kept: list[Kept]
    floor: int
    mark: int


class _Page:
    """Whatever the log holds after one offset and through another."""

    __slots__ = ("after", "floor", "kept", "mark", "size", "through")

    def __init__(self, after: int, through: int, records: Iterable[Record], floor: int) -> None:
        self.after = after
        self.through = through
        self.floor = floor
        self.mark = mark()
        self.kept = [Kept(record) for record in records]
        self.size = sum(_size(kept.record) for kept in self.kept)

    def covers(self, after: int, through: int) -> bool:
        return self.after <= after and through <= self.through

    def slice(self, after: int, through: int) -> Part:
        first = bisect_right(self.kept, after, key=_offset)
        last = bisect_right(self.kept, through, key=_offset)
        return Part(self.kept[first:last], self.floor, self.mark)


class Pages:
    """The pages of one process."""

    def __init__(self, bound: int, read: Read) -> None:
        self._bound = bound
        self._read = read
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()
        self._reading: dict[tuple[int, int, int], asyncio.Task[_Page]] = {}
        self._size = 0

    def note(
        self,
        partition: int,
        after: int,
        through: int,
        records: Sequence[Record],
        *,
        floor: int = 0,
    ) -> None:
        """Keep what was delivered live: all that the log has after one offset through another.

        floor: under which it was read, if it was.
        """
        start = 0
        while after < through:
            number = after // PAGE
            end = min(through, (number + 1) * PAGE)
            stop = start
            while stop < len(records) and records[stop].offset <= end:
                stop += 1
            self._extend((partition, number), after, end, records[start:stop], floor)
            after, start = end, stop
        self._trim()

    def _extend(
        self, key: tuple[int, int], after: int, through: int, records: Sequence[Record], floor: int
    ) -> None:
        page = self._pages.get(key)
        if page is None or page.through < after:
            self._put(key, _Page(after, through, records, floor=floor))
            return
        if floor:
            page.floor, page.mark = max(page.floor, floor), mark()
        fresh = [Kept(record) for record in records if record.offset > page.through]
        page.kept += fresh
        page.through = max(page.through, through)
        grown = sum(_size(kept.record) for kept in fresh)
        page.size += grown
        self._size += grown
        self._pages.move_to_end(key)

    def missing(self, partition: int, after: int, through: int, *, most: int = MAX_OFFSET) -> int:
        """Return how many offsets of a range would have to be read from the log.

        most: counting ends where it is more.
        """
        missing = 0
        while after < through and missing <= most:
            number = after // PAGE
            end = min(through, (number + 1) * PAGE)
            page = self._pages.get((partition, number))
            if page is None or not page.covers(after, end):
                missing += end - after
            after = end
        return missing

    def cached(self, partition: int, after: int, through: int) -> Part | None:
        """Return the messages of a range within one page; None when they are not in memory."""
        key = (partition, after // PAGE)
        page = self._pages.get(key)
        if page is None or not page.covers(after, through):
            return None
        self._pages.move_to_end(key)
        return page.slice(after, through)

    async def load(self, partition: int, after: int, through: int, *, head: int) -> Part:
        """The same, out of the log where need be; raises Unavailable.

        head: as far as the page may be read.
        """
        found = self.cached(partition, after, through)
        if found is not None:
            return found
        number = after // PAGE
        key = (partition, number, min(head, (number + 1) * PAGE))
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._load(key))
            task.add_done_callback(partial(self._ended, key))
        page = await asyncio.shield(task)
        return page.slice(after, through)

    async def _load(self, key: tuple[int, int, int]) -> _Page:
        partition, number, through = key
        pages = self._pages
        metrics.replay_reads.inc()
        reading = await self._read(partition, number * PAGE, through)
        page = _Page(number * PAGE, through, reading.records, reading.floor)
        if pages is not self._pages:
            return page  # of the log's old life: for whoever waits, and not for those who come
        live = self._pages.get((partition, number))
        if live is not None and page.after <= live.after <= page.through <= live.through:
            page.kept += [kept for kept in live.kept if kept.record.offset > page.through]
            if live.floor > page.through:
                page.floor = live.floor
            page.through = live.through
            page.size = sum(_size(kept.record) for kept in page.kept)
        self._put((partition, number), page)
        self._trim()
        return page

    def _ended(self, key: tuple[int, int, int], task: asyncio.Task[_Page]) -> None:
        if self._reading.get(key) is task:
            del self._reading[key]
        if not task.cancelled():
            task.exception()  # whoever waits gets it; it is no news when nobody does any more

    def clear(self) -> None:
        """Forget everything: the log has begun a new life."""
        self._pages = OrderedDict()
        self._reading.clear()
        self._size = 0

    def _put(self, key: tuple[int, int], page: _Page) -> None:
        before = self._pages.pop(key, None)
        self._size += page.size - (before.size if before is not None else 0)
        self._pages[key] = page

    def _trim(self) -> None:
        while self._size > self._bound and len(self._pages) > 1:
            _, page = self._pages.popitem(last=False)
            self._size -= page.size
        metrics.replay_cache_bytes.set(self._size)


def _size(record: Record) -> int:
    return OVERHEAD + FORMS * (len(record.payload) + len(record.metadata))


def _offset(kept: Kept) -> int:
    return kept.record.offset
