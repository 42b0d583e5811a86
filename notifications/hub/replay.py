"""Replays: what a connection missed, out of the log, and from there on to live delivery.

A replay is whole or nothing of it is sent: whether it can be is found out first. Then it goes out
piece by piece as fast as the peer reads. Where many want the same recent messages they come from
the pages in memory; where a client of few topics was away for long, only its topics are read.
"""

import asyncio
from collections.abc import Callable, Iterable

from notifications import metrics
from notifications.database import in_database
from notifications.hub.pages import PAGE, Kept, Pages
from notifications.hub.subscriber import Subscriber
from notifications.hub.wanted import Replay, Wanted, is_narrow
from notifications.log.read import (
    CHUNK,
    Reading,
    find_topics,
    read_headlines,
    read_of_topics,
    read_purged,
    read_range,
)
from notifications.log.records import Record, now_ms
from notifications.recovery.cursor import Offsets, Unrecovered, below
from notifications.recovery.splice import Range, Splice
from notifications.topics.partitions import partitions_of

SHARED_SPAN = 4 * PAGE
"""Offsets of a partition that are read for everybody when one client needs them; a client that
needs more is read for alone, and of its topics only if it has few."""

HEADLINES = 5_000
"""Messages that are looked at in one read, to count those wanted."""

PURGED_BOUND = 1_000
"""Topics with purged messages that are compared with what a client wants; where there are more,
it has missed something."""

ROOM_DEADLINE = 30.0
"""Seconds that a peer may take to make room for the next piece; then it is a slow consumer."""

DETACHED_PAUSE = 0.05
"""Seconds between two looks whether a connection follows live again."""

BREATH = 200
"""Messages after which other connections have their turn."""


class LostPlaceError(Exception):
    """Something that was still to be sent has been purged; the client has to resume to be told."""


class StoppedError(Exception):
    """The connection takes nothing any more."""


class Feeder:
    """Brings connections from a place in the log to another."""

    def __init__(self, pages: Pages, partition_count: int, *, heads: Callable[[], Offsets]) -> None:
        self._pages = pages
        self._count = partition_count
        self._heads = heads

    async def replay(self, subscriber: Subscriber, replay: Replay) -> Unrecovered | None:
        """Send what a replay wants, flagged, or say why it cannot be whole: then none was sent.

        Raises LostPlaceError, StoppedError, Unavailable.
        """
        wanted = Wanted(subscriber, replay)
        starts = self._starts(subscriber, replay)
        for partition in below(self._spread(starts), replay.floors, starts):
            if await self._has_lost(wanted, partition, starts[partition]):
                return Unrecovered.BEYOND_RETENTION
        if await self._are_too_many(wanted, starts, replay):
            return Unrecovered.TOO_MANY
        place = list(replay.through)
        for partition, start in starts.items():
            place[partition] = start
        splice = Splice(place, starts)
        while (due := splice.next(replay.through)) is not None:
            try:
                replay.count += await self._feed(subscriber, wanted, due, splice, replayed=True)
            except LostPlaceError:
                if replay.count:
                    raise
                return Unrecovered.BEYOND_RETENTION  # the floors were older than the purge
        metrics.messages_replayed.inc(replay.count)
        return None

    async def catch_up(self, subscriber: Subscriber, level: Callable[[], Offsets]) -> None:
        """Give a detached connection what it has not had yet, until it stands level with the hub.

        level: the hub's place now. Returns in the same turn of the loop in which it was level.
        """
        wanted = Wanted(subscriber, None)
        while subscriber.splice is not None:
            due = subscriber.splice.next(level())
            if due is None:
                return
            await self._feed(subscriber, wanted, due, subscriber.splice, replayed=False)

    async def give(self, subscriber: Subscriber, records: Iterable[Record]) -> int:
        """Send some messages once more, flagged, as far as the connection wants them."""
        given = 0
        while subscriber.splice is not None and not subscriber.is_closed:  # noqa: ASYNC110
            # Its client would take these for missed ones.
            await asyncio.sleep(DETACHED_PAUSE)
        now = now_ms()
        for record in records:
            if not subscriber.wanting(record.topic) or 0 < record.expires_at <= now:
                continue
            if subscriber.is_closed or not await subscriber.buffer.room(within=ROOM_DEADLINE):
                break
            subscriber.give(Kept(record).frame(subscriber.codec, replayed=True))
            given += 1
        return given

    # --- Whether it can be whole ----------------------------------------------------------------

    def _starts(self, subscriber: Subscriber, replay: Replay) -> dict[int, int]:
        """Return where to begin in each partition that concerns the replay."""
        starts: dict[int, int] = {}
        for pattern, wish in subscriber.wishes.items():
            if replay.only is not None and pattern != replay.only:
                continue
            if replay.after_resume and not wish.missed:
                continue
            for partition in partitions_of(pattern, self._count):
                start = replay.after[partition]
                if wish.begin and not replay.ignore_begin:
                    start = max(start, wish.begin[partition])
                if start < replay.through[partition]:
                    starts[partition] = min(start, starts.get(partition, start))
        return dict(sorted(starts.items()))

    def _spread(self, starts: dict[int, int]) -> list[int]:
        return [starts.get(partition, 0) for partition in range(self._count)]

    async def _has_lost(self, wanted: "Wanted", partition: int, start: int) -> bool:
        """Tell whether something that is wanted after a place has been purged."""
        purged = await in_database(
            read_purged, partition, start, wanted.patterns(), limit=PURGED_BOUND
        )
        return len(purged) == PURGED_BOUND or any(
            wanted.by_place(topic, partition, floor) for topic, floor in purged
        )

    async def _are_too_many(self, wanted: "Wanted", starts: dict[int, int], replay: Replay) -> bool:
        """Tell whether more is wanted than may be replayed."""
        caps = replay.caps
        span = sum(replay.through[partition] - start for partition, start in starts.items())
        if span <= caps.total and caps.of is None:
            return False
        total, by_policy = 0, dict[str, int]()
        for partition, start in starts.items():
            topics = await self._narrow(wanted, partition)
            place = start
            while place < replay.through[partition]:
                lines = await in_database(
                    read_headlines,
                    partition,
                    place,
                    replay.through[partition],
                    topics=topics,
                    limit=HEADLINES,
                )
                for line in lines:
                    if not wanted(line, partition, now_ms()):
                        continue
                    total += 1
                    cap = caps.of(line.topic) if caps.of is not None else None
                    if cap is not None:
                        by_policy[cap[0]] = by_policy.get(cap[0], 0) + 1
                        if by_policy[cap[0]] > cap[1]:
                            return True
                    if total > caps.total:
                        return True
                if len(lines) < HEADLINES:
                    break
                place = lines[-1].offset
        return False

    async def _narrow(self, wanted: "Wanted", partition: int) -> list[int] | None:
        """Return the rows of the few topics that are wanted; None where they may be many."""
        if wanted.topics is not None and partition in wanted.topics:
            return wanted.topics[partition]
        patterns = wanted.patterns()
        found = None
        if all(is_narrow(pattern) for pattern in patterns):
            found = await in_database(find_topics, partition, patterns)
        if wanted.topics is not None:
            wanted.topics[partition] = found
        return found

    # --- Sending --------------------------------------------------------------------------------

    async def _feed(
        self,
        subscriber: Subscriber,
        wanted: "Wanted",
        due: Range,
        splice: Splice,
        *,
        replayed: bool,
    ) -> int:
        """Send one piece of a range; return how many messages it had."""
        await self._room(subscriber)
        partition, after, through = due
        end = min(through, (after // PAGE + 1) * PAGE)
        found = self._pages.cached(partition, after, end)
        if found is None:
            found, end = await self._read(wanted, due)
        kept, floor = found
        if floor > after and await self._has_lost(wanted, partition, after):
            raise LostPlaceError
        sent = 0
        now = now_ms()
        buffer = subscriber.buffer
        for number, one in enumerate(kept):
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)
            if not buffer.has_room:
                await self._room(subscriber)
                now = now_ms()
            # They wait for each other, and are written in one go.
            buffer.direct = None
            # Asked at the last moment: what was unsubscribed meanwhile is not sent any more.
            if wanted(one.record, partition, now):
                subscriber.give(one.frame(subscriber.codec, replayed=replayed))
                sent += 1
        splice.fed(partition, end)
        if subscriber.is_closed:
            raise StoppedError
        return sent

    async def _room(self, subscriber: Subscriber) -> None:
        if not await subscriber.buffer.room(within=ROOM_DEADLINE) or subscriber.is_closed:
            raise StoppedError

    async def _read(self, wanted: "Wanted", due: Range) -> tuple[tuple[list[Kept], int], int]:
        """Read a piece that is not in memory; return its messages, the floor, and its end."""
        partition, after, through = due
        if self._pages.missing(partition, after, through) <= SHARED_SPAN:
            end = min(through, (after // PAGE + 1) * PAGE)
            head = max(through, self._heads()[partition])
            return await self._pages.load(partition, after, end, head=head), end
        metrics.replay_reads.inc()
        topics = await self._narrow(wanted, partition)
        reading: Reading
        if topics is None:
            reading = await in_database(read_range, partition, after, through)
        else:
            reading = await in_database(read_of_topics, partition, topics, after, through)
        records = reading.records
        end = records[-1].offset if len(records) == CHUNK else through
        return ([Kept(record) for record in records], reading.floor), end
