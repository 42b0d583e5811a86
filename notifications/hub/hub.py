"""The hub: keeps its place in every partition that somebody here needs, and fans out.

Everything but `follow` happens in one go in the event loop, so a subscription, the messages after
it and the cursor that separates them never disagree.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import structlog

from notifications import metrics
from notifications.bus import Bus, Hint, hints_of
from notifications.bus.bus import ChannelLayer
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub.fan_out import fan_out
from notifications.hub.pages import Pages
from notifications.hub.place import Place
from notifications.hub.replay import Feeder
from notifications.hub.subscriber import Subscriber, Wish
from notifications.log.creation import LogIdentity
from notifications.log.read import (
    CHUNK,
    LogState,
    Reading,
    read_purged,
    read_range,
    read_state,
)
from notifications.log.records import Record, now_ms
from notifications.protocol.frames import Cursor
from notifications.recovery.cursor import Offsets, Unrecovered, later, named
from notifications.recovery.splice import Splice
from notifications.topics.index import TopicIndex
from notifications.topics.partitions import partitions_of

POLL_INTERVAL = 1.0
"""Seconds between looks at the heads of the log, which find what the bus lost without new traffic
and everything while the bus is away."""

LOCAL_POLL_INTERVAL = 0.2
"""The same where the bus does not leave this process: other processes (a `manage.py publish`) are
only heard of by looking."""

REPLAY_CACHE_BYTES = 67_108_864
"""Memory for recent messages unless settings say otherwise."""

GRACE = 0.05
"""Seconds that a hole stays open before the log is read: most are a hint still on its way."""

REACH_DEADLINE = 3.0
"""Seconds in which this process has to come as far as the log was when a client came to it."""

LINGER = 30.0
"""Seconds that a partition is still followed after its last subscription here ended."""

logger = structlog.get_logger(__name__)


class Hub:
    """The delivery side of one server process.

    on_control: called with each control message of the bus.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        identity: LogIdentity,
        *,
        on_control: Callable[[dict[str, Any]], None],
        poll_interval: float = POLL_INTERVAL,
        replay_cache_bytes: int = REPLAY_CACHE_BYTES,
    ) -> None:
        self.identity = identity
        self.bus = Bus(
            layer,
            on_hint=self._on_hint,
            on_control=on_control,
            on_ephemeral=self._on_ephemeral,
        )
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self._poll_interval = poll_interval
        self._places: dict[int, Place] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._filling: dict[int, asyncio.Task[None]] = {}
        self._needed = [0] * identity.partition_count
        self._idle_since: dict[int, float] = {}
        self._heads = [0] * identity.partition_count
        self._past: set[str] = set()
        self._snapshot: Offsets | None = None
        self._subscribers: set[Subscriber] = set()
        self.floors: Offsets = (0,) * identity.partition_count
        self.pages = Pages(replay_cache_bytes, self._read_page)
        self.feeder = Feeder(self.pages, identity.partition_count, heads=self.heads)
        self._poller: asyncio.Task[None] | None = None
        self.log_reachable = True

    async def start(self) -> None:
        """Learn the heads of the log and begin to listen and to look."""
        self.learn(await in_database(read_state))
        await self.bus.start()
        self._poller = asyncio.create_task(self._poll_for_ever(), name="hub-poll")

    async def stop(self) -> None:
        """Stop listening; what was pushed to buffers stays there."""
        tasks = [*self._filling.values(), *self._opening.values()]
        if self._poller is not None:
            tasks.append(self._poller)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.bus.stop()

    @staticmethod
    async def _read_page(partition: int, after: int, through: int) -> Reading:
        return await in_database(read_range, partition, after, through)

    # --- Publishing side ----------------------------------------------------------------------

    def relay(self, records: Sequence[Record]) -> None:
        """Tell all processes, this one too, of new records; call in the event loop."""
        self.bus.announce(hints_of(records))

    # --- Subscribing side ---------------------------------------------------------------------

    async def follow(self, patterns: Iterable[str]) -> None:
        """Make sure that the partitions of these patterns are followed; then `add` may be called.

        Raises Unavailable when the log cannot be read.
        """
        for pattern in patterns:
            for partition in partitions_of(pattern, self.identity.partition_count):
                place = self._places.get(partition)
                if place is not None and place.is_open:
                    if partition in self._idle_since:
                        self._idle_since[partition] = asyncio.get_running_loop().time()
                    continue
                opening = self._opening.get(partition)
                if opening is None:
                    opening = asyncio.create_task(self._open(partition))
                    self._opening[partition] = opening
                    opening.add_done_callback(partial(self._opened, partition))
                await asyncio.shield(opening)

    async def reach(self, state: LogState) -> None:
        """Come at least as far as the log was at some moment; raises Unavailable.

        A client may have been served by a process that was ahead of this one.
        """
        self.learn(state)
        deadline = asyncio.get_running_loop().time() + REACH_DEADLINE
        while self.identity.epoch == state.epoch and (late := self._behind(state.heads)):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("The log cannot be read now.", retry_after=1000)
            for partition in late:
                self._fill_soon(partition)
            await asyncio.wait([self._filling[partition] for partition in late])

    def _behind(self, heads: Offsets) -> list[int]:
        return [
            partition
            for partition, place in self._places.items()
            if place.is_open and place.offset < heads[partition]
        ]

    def register(self, subscriber: Subscriber) -> None:
        """Tell a connection of gaps from now on, until it is forgotten."""
        self._subscribers.add(subscriber)

    def add(self, subscriber: Subscriber, pattern: str, wish: Wish) -> None:
        """Deliver what is published to a pattern from now on; `follow` it first."""
        subscriber.wishes[pattern] = wish
        subscriber.version += 1
        partitions = partitions_of(pattern, self.identity.partition_count)
        if subscriber.splice is not None:
            subscriber.splice.concern(partitions)
        if not self.index.add(pattern, subscriber):
            return
        for partition in partitions:
            self._needed[partition] += 1
            self._idle_since.pop(partition, None)
        metrics.subscriptions.set(len(self.index))

    def remove(self, subscriber: Subscriber, pattern: str) -> None:
        """Stop delivering what only this pattern matched."""
        subscriber.wishes.pop(pattern, None)
        subscriber.version += 1
        if not self.index.remove(pattern, subscriber):
            return
        for partition in partitions_of(pattern, self.identity.partition_count):
            self._needed[partition] -= 1
            if not self._needed[partition]:
                self._idle_since[partition] = asyncio.get_running_loop().time()
        metrics.subscriptions.set(len(self.index))

    def forget(self, subscriber: Subscriber) -> None:
        """Remove a connection that is closing or gone."""
        for pattern in list(subscriber.wishes):
            self.remove(subscriber, pattern)
        self._subscribers.discard(subscriber)
        subscriber.close()

    # --- Off the live stream and back -----------------------------------------------------------

    def detach(self, subscriber: Subscriber) -> Offsets:
        """Have live messages pass a connection by until as many calls of `attach`.

        Returns the place of all partitions: what comes after it is brought from the log then.
        """
        subscriber.detached += 1
        now = self.offsets()
        if subscriber.splice is None:
            concerned = (
                number
                for pattern in subscriber.wishes
                for number in partitions_of(pattern, self.identity.partition_count)
            )
            subscriber.splice = Splice(now, concerned)
        return now

    async def attach(self, subscriber: Subscriber) -> None:
        """Bring a connection level with live delivery, and let it follow.

        Raises LostPlaceError, StoppedError and Unavailable, after which it must be closed.
        """
        if subscriber.detached == 1:
            await self.feeder.catch_up(subscriber, self.offsets)
            # Another may have detached it again while this one caught up.
            if subscriber.detached == 1:
                subscriber.splice = None
        subscriber.detached -= 1

    # --- Cursors --------------------------------------------------------------------------------

    def cursor(self, subscriber: Subscriber) -> Cursor:
        """Return the place of all partitions and remember that this connection was told it."""
        subscriber.told = self.offsets()
        return self.cursor_at(subscriber.told)

    def cursor_at(self, offsets: Offsets) -> Cursor:
        """Return a place as it goes on the wire."""
        return Cursor(epoch=self.identity.epoch, offsets=named(offsets))

    def moved(self, subscriber: Subscriber) -> Cursor:
        """Return the place of the partitions that moved since this connection was last told.

        While it is fed from the log, nothing has moved as far as it is concerned.
        """
        if subscriber.splice is not None:
            return Cursor(epoch=self.identity.epoch, offsets={})
        now = self.offsets()
        told, subscriber.told = subscriber.told, now
        if now is told:
            return Cursor(epoch=self.identity.epoch, offsets={})
        return Cursor(
            epoch=self.identity.epoch,
            offsets={
                str(partition): offset
                for partition, (offset, before) in enumerate(zip(now, told, strict=True))
                if offset != before
            },
        )

    def offsets(self) -> Offsets:
        """Return the place of all partitions."""
        # One tuple is shared by all connections until something moves.
        if self._snapshot is None:
            self._snapshot = tuple(
                place.offset if (place := self._places.get(partition)) and place.is_open else head
                for partition, head in enumerate(self._heads)
            )
        return self._snapshot

    def heads(self) -> Offsets:
        """Return the heads of all partitions as far as they are known."""
        return tuple(self._heads)

    # --- The place in each partition ----------------------------------------------------------

    def _opened(self, partition: int, _: asyncio.Task[None]) -> None:
        self._opening.pop(partition, None)

    async def _open(self, partition: int) -> None:
        # The group is joined first: what is appended after the head was read comes as a hint.
        place = self._places.setdefault(partition, Place())
        try:
            await self.bus.follow(partition)
            state = await in_database(read_state)
        except BaseException:
            self._places.pop(partition, None)
            raise
        # Another look may have been quicker and found more: connections were told of that head.
        self.learn(state)
        if self._places.get(partition) is not place:
            return  # the log began a new life meanwhile; whoever wants this partition asks again
        due = place.begin(self._heads[partition])
        self._snapshot = None
        self._deliver(partition, due, after=place.offset - len(due))
        if not self._needed[partition]:
            self._idle_since[partition] = asyncio.get_running_loop().time()

    def _on_hint(self, hint: Hint) -> None:
        place = self._places.get(hint.partition)
        if place is None:
            return
        if hint.last <= place.offset:
            metrics.hints_repeated.inc()
            return
        try:
            records = hint.decode()
        except msgspec.DecodeError as error:
            logger.warning("a hint cannot be decoded", error=str(error))
            return
        before = place.offset
        self._deliver(hint.partition, place.offer(records), after=before)
        if place.has_hole:
            self._fill_soon(hint.partition)

    def _on_ephemeral(self, records: Sequence[Record]) -> None:
        fan_out(self.index, records, now=now_ms())

    def _fill_soon(self, partition: int) -> None:
        if partition not in self._filling:
            task = asyncio.create_task(self._fill(partition), name=f"hub-fill-{partition}")
            self._filling[partition] = task
            task.add_done_callback(lambda _: self._filling.pop(partition, None))

    async def _fill(self, partition: int) -> None:
        """Read from the log what is missing, until this process stands at the head."""
        await asyncio.sleep(GRACE)
        place = self._places.get(partition)
        while (
            place is not None
            and self._places.get(partition) is place  # not left, nor left and opened again
            and (place.has_hole or place.offset < self._heads[partition])
        ):
            start, known = place.offset, max(place.heard, self._heads[partition])
            try:
                metrics.log_reads.inc()
                records, floor = await in_database(read_range, partition, start, known)
                purged = await in_database(read_purged, partition, start) if floor > start else []
            except Unavailable:
                metrics.log_read_failures.inc()
                return  # the next hint or look starts again
            if self._places.get(partition) is not place:
                return
            up_to = records[-1].offset if len(records) == CHUNK else known
            before = place.offset
            due = place.fill(records, up_to=up_to)
            metrics.holes_filled.inc(sum(1 for record in records if record.offset > before))
            self._deliver(partition, due, after=before)
            if purged:
                self._tell_purged(purged)

    def _tell_purged(self, purged: Sequence[tuple[str, int]]) -> None:
        """Tell whom it concerns that messages were purged before they could be delivered."""
        if len(purged) > 100:
            for subscriber in list(self._subscribers):
                subscriber.tell_gap(None, Unrecovered.BEYOND_RETENTION)
            return
        for topic, _ in purged:
            for subscriber in list(self.index.match(topic)):
                subscriber.tell_gap(topic, Unrecovered.BEYOND_RETENTION)

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            await self.look()

    async def look(self) -> None:
        """Compare this process with the log, and set out to read what it lacks."""
        try:
            state = await in_database(read_state)
        except Exception as error:
            if not isinstance(error, Unavailable):
                logger.exception("the heads of the log could not be read")
            metrics.log_read_failures.inc()
            if self.log_reachable:
                logger.warning("the log cannot be read; deliveries wait for it")
            self.log_reachable = False
            return
        if not self.log_reachable:
            logger.info("the log can be read again")
        self.log_reachable = True
        self.learn(state)
        for partition in self._behind(self.heads()):
            self._fill_soon(partition)
        await self._unfollow_idle()

    async def _unfollow_idle(self) -> None:
        long_ago = asyncio.get_running_loop().time() - LINGER
        for partition, since in list(self._idle_since.items()):
            if since < long_ago and not self._needed[partition]:
                self._idle_since.pop(partition, None)
                self._places.pop(partition, None)
                self._snapshot = None
                await self.bus.unfollow(partition)

    def learn(self, state: LogState) -> None:
        """Take in how far the log is; begin anew when it has begun a new life."""
        if state.epoch != self.identity.epoch:
            if state.epoch not in self._past:
                self._begin_anew(state)
            return
        self.floors = later(self.floors, state.floors)
        heads = list(later(self._heads, state.heads))
        if heads != self._heads:
            self._heads = heads
            self._snapshot = None

    def _begin_anew(self, state: LogState) -> None:
        logger.warning("the log has a new epoch", before=self.identity.epoch, now=state.epoch)
        self._past.add(self.identity.epoch)
        self.identity = LogIdentity(state.epoch, self.identity.partition_count)
        self._heads, self.floors = list(state.heads), state.floors
        self._snapshot = None
        self.pages.clear()
        for partition, place in list(self._places.items()):
            fresh = self._places[partition] = Place()
            if place.is_open:
                fresh.begin(state.heads[partition])
        for subscriber in list(self._subscribers):
            for pattern, wish in subscriber.wishes.items():
                subscriber.wishes[pattern] = replace(wish, begin=())
            subscriber.version += 1
            if subscriber.splice is not None:
                subscriber.lost()  # what it is being fed is of the old life
            else:
                subscriber.told = self.offsets()
                subscriber.tell_gap(None, Unrecovered.EPOCH_CHANGED)

    def _deliver(self, partition: int, records: Sequence[Record], *, after: int) -> None:
        place = self._places[partition]
        if place.offset == after:
            return
        self._snapshot = None
        self._heads[partition] = max(self._heads[partition], place.offset)
        self.pages.note(partition, after, place.offset, records)
        if records:
            fan_out(self.index, records, now=now_ms())
