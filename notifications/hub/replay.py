"""Replays: what a connection missed, out of the log, and from there on to live delivery.

A replay is whole or nothing of it is sent: whether it can be is found out first. Then it goes out
piece by piece as fast as the peer reads. Where many want the same recent messages they come from
the pages in memory; what one client alone needs is found by its headlines, and read by itself.

What is read ahead of a peer is bounded (READ_BYTES) and let go as it is sent: a slow reader costs
its buffer, and little else.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from notifications import metrics
from notifications.hub.encoded import encode_record
from notifications.hub.pages import PAGE, Kept, Pages, Part
from notifications.hub.purged import Purged, mark
from notifications.hub.subscriber import Subscriber
from notifications.hub.survey import (
    BREATH,
    READ_BYTES,
    SHARED_SPAN,
    Found,
    Survey,
    TooManyError,
)
from notifications.hub.turns import Turns
from notifications.hub.wanted import Replay, Wanted
from notifications.log.read import CHUNK, read_at, read_state
from notifications.log.records import Record, now_ms
from notifications.recovery.cursor import Offsets, Unrecovered, below
from notifications.recovery.splice import Range, Splice
from notifications.topics.partitions import partitions_of

WINDOW = 20 * PAGE
"""Offsets of a partition that are surveyed at once for a connection that catches up alone."""

ROOM_DEADLINE = 30.0
"""Seconds that a peer may take to make room for the next piece; then it is a slow consumer."""


class LostPlaceError(Exception):
    """Something that was still to be sent has been purged; the client has to resume to be told."""


class StoppedError(Exception):
    """The connection takes nothing any more."""


@dataclass(slots=True)
class _Feed:
    """One connection on its way. found: by partition, what is known to be wanted."""

    subscriber: Subscriber
    wanted: Wanted
    splice: Splice
    replayed: bool
    found: dict[int, Found] = field(default_factory=dict)

    def known(self, partition: int, after: int) -> Found | None:
        """Return what is known to be wanted after an offset, at once or further on."""
        found = self.found.get(partition)
        return found if found is not None and after < found.through else None


class Feeder:
    """Brings connections from a place in the log to another."""

    def __init__(
        self, pages: Pages, turns: Turns, partition_count: int, *, heads: Callable[[], Offsets]
    ) -> None:
        self._pages = pages
        self._turns = turns
        self._purged = Purged(turns)
        self._count = partition_count
        self._heads = heads

    def begin_anew(self) -> None:
        """Forget the log: it has begun a new life."""
        self._pages.clear()
        self._purged.clear()

    async def replay(self, subscriber: Subscriber, replay: Replay) -> Unrecovered | None:
        """Send what a replay wants, flagged, or say why it cannot be whole: then none was sent.

        Raises LostPlaceError, StoppedError, Unavailable.
        """
        wanted = Wanted(subscriber, replay)
        starts = self._starts(subscriber, replay)
        if await self._have_lost(wanted, starts, replay.floors):
            return Unrecovered.BEYOND_RETENTION
        found: dict[int, Found] = {}
        if self._may_be_too_many(starts, replay):
            try:
                found = await self._survey(wanted, replay).of_replay(starts, replay.through)
            except TooManyError:
                return Unrecovered.TOO_MANY
            surveyed = mark()
            state = await self._turns.read(read_state)
            if await self._have_lost(wanted, starts, state.floors, seen=surveyed):
                return Unrecovered.BEYOND_RETENTION
            starts = {partition: starts[partition] for partition in found}
        place = list(replay.through)
        for partition, start in starts.items():
            place[partition] = start
        replay.splice = splice = Splice(place, starts)
        feed = _Feed(subscriber, wanted, splice, replayed=True, found=found)
        while (due := feed.splice.next(replay.through)) is not None:
            try:
                replay.count += await self._feed(feed, due)
            except LostPlaceError:
                if replay.count:
                    raise
                return Unrecovered.BEYOND_RETENTION  # the floors were older than the purge
        metrics.messages_replayed.inc(replay.count)
        return None

    async def catch_up(self, subscriber: Subscriber, level: Callable[[], Offsets]) -> None:
        """Give a detached connection what it has not had yet, until it stands level with the hub.

        level: the hub's place now. Returns in the same turn of the loop in which it was level; or
        before, when something else keeps the connection detached. That may be a subscription being
        made, which begins where the hub stands now: nothing behind that place may be passed until
        it is known what is wanted there.
        """
        if subscriber.splice is None:
            return
        feed = _Feed(subscriber, Wanted(subscriber, None), subscriber.splice, replayed=False)
        while subscriber.detached <= 1 and (due := feed.splice.next(level())) is not None:
            await self._feed(feed, due)

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

    async def _have_lost(
        self,
        wanted: Wanted,
        starts: Mapping[int, int],
        floors: Sequence[int],
        *,
        seen: int | None = None,
    ) -> bool:
        """Tell whether something that is wanted after its start has been purged.

        seen: the mark of the moment up to which all purges count; None at the beginning.
        """
        spread = [starts.get(partition, 0) for partition in range(self._count)]
        for partition in below(spread, floors, starts):
            start, floor = starts[partition], floors[partition]
            if await self._purged.concerns(wanted, partition, start, floor=floor, seen=seen):
                return True
        return False

    @staticmethod
    def _may_be_too_many(starts: Mapping[int, int], replay: Replay) -> bool:
        span = sum(replay.through[partition] - start for partition, start in starts.items())
        caps = replay.caps
        return span > (caps.total if caps.of is None else min(caps.total, caps.least))

    def _survey(self, wanted: Wanted, replay: Replay | None) -> Survey:
        caps = replay.caps if replay is not None else None
        return Survey(self._pages, self._turns, wanted, heads=self._heads(), caps=caps)

    # --- Sending --------------------------------------------------------------------------------

    async def _feed(self, feed: _Feed, due: Range) -> int:
        """Send one piece of a range; return how many messages it had."""
        await self._room(feed.subscriber)
        partition, after, through = due
        found = feed.known(partition, after)
        offsets: Sequence[int] = ()
        if found is not None:
            offsets = found.next(after, count=CHUNK, size=READ_BYTES)
            if not offsets:
                feed.splice.fed(partition, min(found.through, through))
                return 0
            after = offsets[0] - 1
        if (page := await self._page(partition, after, through)) is not None:
            part, end = page
            await self._require_kept(feed, due, part.floor, seen=part.mark)
            return await self._send_page(feed, partition, after, part.kept, end)
        if found is None:
            await self._find(feed, due)
            return 0
        metrics.replay_reads.inc()
        records, floor = await self._turns.read(read_at, partition, offsets)
        await self._require_kept(feed, due, floor, seen=mark())
        return await self._send(feed, partition, records, offsets[-1])

    async def _page(self, partition: int, after: int, through: int) -> tuple[Part, int] | None:
        """Return the next messages out of a page, and their end; None where too many pages are
        missing to be read for one client."""
        end = min(through, (after // PAGE + 1) * PAGE)
        found = self._pages.cached(partition, after, end)
        if found is None:
            missing = self._pages.missing(partition, after, through, most=SHARED_SPAN)
            if missing > SHARED_SPAN:
                return None
            head = max(through, self._heads()[partition])
            found = await self._pages.load(partition, after, end, head=head)
        return found, end

    async def _find(self, feed: _Feed, due: Range) -> None:
        """Find out what is wanted of the next part of a range."""
        partition, after, through = due
        end = min(through, after + WINDOW)
        survey = self._survey(feed.wanted, None)
        feed.found[partition] = await survey.of_range(partition, after, end)
        surveyed = mark()
        floors = (await self._turns.read(read_state)).floors
        await self._require_kept(feed, due, floors[partition], seen=surveyed)

    async def _require_kept(self, feed: _Feed, due: Range, floor: int, *, seen: int) -> None:
        """Raise LostPlaceError where something was purged that was still to be sent.

        floor: of the partition, after its messages were read. seen: the mark of that moment.
        """
        if floor > due.after and await self._purged.concerns(
            feed.wanted, due.partition, due.after, floor=floor, seen=seen
        ):
            raise LostPlaceError

    async def _send_page(
        self, feed: _Feed, partition: int, after: int, kept: Collection[Kept], end: int
    ) -> int:
        """Send messages of a page while there is room, and stand where that ended: a page must not
        be kept in memory by who does not read."""
        subscriber, now, sent = feed.subscriber, now_ms(), 0
        for number, one in enumerate(kept, 1):
            if number % BREATH == 0:
                feed.splice.fed(partition, after)
                await asyncio.sleep(0)
            if not subscriber.buffer.has_room:
                end = after
                break
            # They wait for each other, and are written in one go.
            subscriber.buffer.direct = None
            # Asked at the last moment: what was unsubscribed meanwhile is not sent any more.
            if feed.wanted(one.record, partition, now):
                subscriber.give(one.frame(subscriber.codec, replayed=feed.replayed))
                sent += 1
            after = one.record.offset
        return self._fed(feed, partition, end, sent)

    async def _send(self, feed: _Feed, partition: int, records: list[Record], end: int) -> int:
        """Send messages that were read for this connection, and let each go."""
        subscriber, now, sent = feed.subscriber, now_ms(), 0
        records.reverse()
        while records:
            record = records.pop()
            if len(records) % BREATH == 0 or not subscriber.buffer.has_room:
                feed.splice.fed(partition, record.offset - 1)
                await asyncio.sleep(0)
                await self._room(subscriber)
                now = now_ms()
            subscriber.buffer.direct = None
            if feed.wanted(record, partition, now):
                frame = encode_record(record, subscriber.codec, replayed=feed.replayed)
                subscriber.give(frame)
                sent += 1
        return self._fed(feed, partition, end, sent)

    @staticmethod
    def _fed(feed: _Feed, partition: int, end: int, sent: int) -> int:
        feed.splice.fed(partition, end)
        if feed.subscriber.is_closed:
            raise StoppedError
        return sent

    async def _room(self, subscriber: Subscriber) -> None:
        if not await subscriber.buffer.room(within=ROOM_DEADLINE) or subscriber.is_closed:
            raise StoppedError
