"""The hub: keeps its place in every partition that somebody here needs, and fans out.

Everything but `follow` happens in one go in the event loop, so a subscription, the messages after
it and the cursor that separates them never disagree.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
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
from notifications.hub.place import Place
from notifications.hub.subscriber import Subscriber
from notifications.log.creation import LogIdentity
from notifications.log.read import CHUNK, read_after, read_heads
from notifications.log.records import Record, now_ms
from notifications.protocol.frames import Cursor
from notifications.topics.index import TopicIndex
from notifications.topics.partitions import partitions_of

POLL_INTERVAL = 1.0
"""Seconds between looks at the heads of the log, which find what the bus lost without new traffic
and everything while the bus is away."""

LOCAL_POLL_INTERVAL = 0.2
"""The same where the bus does not leave this process: other processes (a `manage.py publish`) are
only heard of by looking."""

GRACE = 0.05
"""Seconds that a hole stays open before the log is read: most are a hint still on its way."""

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
        self._snapshot: tuple[int, ...] | None = None
        self._poller: asyncio.Task[None] | None = None
        self.log_reachable = True

    async def start(self) -> None:
        """Learn the heads of the log and begin to listen and to look."""
        self._learn(await in_database(read_heads))
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

    def add(self, subscriber: Subscriber, pattern: str, subscription_id: str) -> None:
        """Deliver what is published to a pattern from now on; `follow` it first."""
        if not self.index.add(pattern, subscriber):
            return
        subscriber.patterns[pattern] = subscription_id
        for partition in partitions_of(pattern, self.identity.partition_count):
            self._needed[partition] += 1
            self._idle_since.pop(partition, None)
        metrics.subscriptions.set(len(self.index))

    def remove(self, subscriber: Subscriber, pattern: str) -> None:
        """Stop delivering what only this pattern matched."""
        subscriber.patterns.pop(pattern, None)
        if not self.index.remove(pattern, subscriber):
            return
        for partition in partitions_of(pattern, self.identity.partition_count):
            self._needed[partition] -= 1
            if not self._needed[partition]:
                self._idle_since[partition] = asyncio.get_running_loop().time()
        metrics.subscriptions.set(len(self.index))

    def forget(self, subscriber: Subscriber) -> None:
        """Remove a connection that is closing or gone; what was held back for it is let go."""
        for pattern in list(subscriber.patterns):
            self.remove(subscriber, pattern)
        subscriber.close()

    def cursor(self, subscriber: Subscriber) -> Cursor:
        """Return the place of all partitions and remember that this connection was told it."""
        subscriber.told = self._offsets()
        return self.cursor_now()

    def cursor_now(self) -> Cursor:
        """Return the place of all partitions."""
        return Cursor(
            epoch=self.identity.epoch,
            offsets={str(partition): offset for partition, offset in enumerate(self._offsets())},
        )

    def moved(self, subscriber: Subscriber) -> Cursor:
        """Return the place of the partitions that moved since this connection was last told.

        While messages are held back for it, nothing has moved as far as it is concerned.
        """
        if subscriber.held:
            return Cursor(epoch=self.identity.epoch, offsets={})
        now = self._offsets()
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

    def _offsets(self) -> tuple[int, ...]:
        # One tuple is shared by all connections until something moves.
        if self._snapshot is None:
            self._snapshot = tuple(
                place.offset if (place := self._places.get(partition)) and place.is_open else head
                for partition, head in enumerate(self._heads)
            )
        return self._snapshot

    # --- The place in each partition ----------------------------------------------------------

    def _opened(self, partition: int, _: asyncio.Task[None]) -> None:
        self._opening.pop(partition, None)

    async def _open(self, partition: int) -> None:
        # The group is joined first: what is appended after the head was read comes as a hint.
        place = self._places.setdefault(partition, Place())
        try:
            await self.bus.follow(partition)
            heads = await in_database(read_heads)
        except BaseException:
            self._places.pop(partition, None)
            raise
        # Another look may have been quicker and found more: connections were told of that head.
        self._learn(heads)
        due = place.begin(self._heads[partition])
        self._snapshot = None
        self._deliver(due)
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
        self._deliver(place.offer(records))
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
            start = place.offset
            try:
                metrics.log_reads.inc()
                heads = await in_database(read_heads)
                records = await in_database(read_after, partition, start)
            except Unavailable:
                metrics.log_read_failures.inc()
                return  # the next hint or look starts again
            if self._places.get(partition) is not place:
                return
            self._learn(heads)
            up_to = records[-1].offset if len(records) == CHUNK else heads[partition]
            if records:
                up_to = max(up_to, records[-1].offset)
            before = place.offset
            due = place.fill(records, up_to=up_to)
            metrics.holes_filled.inc(sum(1 for record in records if record.offset > before))
            self._deliver(due)

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            try:
                heads = await in_database(read_heads)
            except Exception as error:
                if not isinstance(error, Unavailable):
                    logger.exception("the heads of the log could not be read")
                metrics.log_read_failures.inc()
                if self.log_reachable:
                    logger.warning("the log cannot be read; deliveries wait for it")
                self.log_reachable = False
                continue
            if not self.log_reachable:
                logger.info("the log can be read again")
            self.log_reachable = True
            self._learn(heads)
            for partition, place in list(self._places.items()):
                if place.is_open and place.offset < heads[partition]:
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

    def _learn(self, heads: dict[int, int]) -> None:
        for partition, head in heads.items():
            if head > self._heads[partition]:
                self._heads[partition] = head
                self._snapshot = None

    def _deliver(self, records: Sequence[Record]) -> None:
        if not records:
            return
        self._snapshot = None
        for record in records:
            if record.offset > self._heads[record.partition]:
                self._heads[record.partition] = record.offset
        fan_out(self.index, records, now=now_ms())
