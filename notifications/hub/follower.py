"""Following the log: a process's place in every partition that somebody here needs.

Hints of the bus move it on; whatever they lose is read from the log, and the log is looked at every
second for what no hint announced.
"""

import asyncio
from collections.abc import Iterable
from functools import partial

import msgspec
import structlog

from notifications import metrics
from notifications.bus import Bus, Hint
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub.place import Place
from notifications.hub.standing import Standing
from notifications.log.creation import LogIdentity
from notifications.log.read import CHUNK, LogState, read_hole, read_purged, read_state
from notifications.stopping import stop_tasks
from notifications.topics.partitions import partitions_of

POLL_INTERVAL = 1.0
"""Seconds between looks at the heads of the log, which find what the bus lost without new traffic
and everything while the bus is away."""

LOCAL_POLL_INTERVAL = 0.2
"""The same where the bus does not leave this process: other processes (a `manage.py publish`) are
only heard of by looking."""

GRACE = 0.05
"""Seconds that a hole stays open before the log is read: most are a hint still on its way."""

REACH_DEADLINE = 3.0
"""Seconds in which this process has to come as far as the log was when a client came to it."""

LINGER = 30.0
"""Seconds that a partition is still followed after its last subscription here ended."""

logger = structlog.get_logger(__name__)


class Follower(Standing):
    """Keeps the place of a process moving; what is done with what comes is its hub's."""

    bus: Bus

    def __init__(self, identity: LogIdentity, *, poll_interval: float) -> None:
        super().__init__(identity)
        self.log_reachable = True
        self._poll_interval = poll_interval
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._filling: dict[int, asyncio.Task[None]] = {}
        self._needed = [0] * identity.partition_count
        self._idle_since: dict[int, float] = {}
        self._poller: asyncio.Task[None] | None = None

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
        await stop_tasks(tasks)
        await self.bus.stop()

    async def follow(self, patterns: Iterable[str]) -> None:
        """Make sure that the partitions of these patterns are followed; then `add` may be called.

        Raises Unavailable when the log cannot be read.
        """
        openings: set[asyncio.Task[None]] = set()
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
                openings.add(opening)
        if not openings:
            return
        # All at once: a layer that hangs is waited for once. Whoever gives up stops none of them.
        await asyncio.wait(openings)
        for error in [opening.exception() for opening in openings]:
            if error is not None:
                raise error

    async def reach(self, state: LogState) -> None:
        """Come at least as far as the log was at some moment; raises Unavailable.

        A client may have been served by a process that was ahead of this one.
        """
        self.learn(state)
        now = asyncio.get_running_loop().time
        deadline = now() + REACH_DEADLINE
        while self.identity.epoch == state.epoch and (late := self._behind(state.heads)):
            if now() >= deadline:
                raise Unavailable("The log cannot be read now.", retry_after=1000)
            for partition in late:
                self._fill_soon(partition)
            filling = [self._filling[partition] for partition in late]
            # One that goes on for longer does so for others too.
            await asyncio.wait(filling, timeout=deadline - now())

    def _need(self, partitions: Iterable[int]) -> None:
        """Count one more who needs some partitions."""
        for partition in partitions:
            self._needed[partition] += 1
            self._idle_since.pop(partition, None)

    def _need_no_longer(self, partitions: Iterable[int]) -> None:
        """Count one less; what nobody needs is followed for LINGER yet."""
        for partition in partitions:
            self._needed[partition] -= 1
            if not self._needed[partition]:
                self._idle_since[partition] = asyncio.get_running_loop().time()

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
        # Another place, where that showed that the log has begun a new life.
        place = self._places.setdefault(partition, place)
        due = place.begin(self._heads[partition])
        self._snapshot = None
        self._moved(partition, due, after=place.offset - len(due))
        if not self._needed[partition]:
            self._idle_since[partition] = asyncio.get_running_loop().time()

    def _on_hint(self, hint: Hint) -> None:
        place = self._places.get(hint.partition)
        if place is None:
            return
        if hint.epoch != self.identity.epoch:
            metrics.hints_foreign.inc()
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
        self._moved(hint.partition, place.offer(records), after=before)
        if place.has_hole:
            self._fill_soon(hint.partition)

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
            start, told = place.offset, max(place.heard, self._heads[partition])
            try:
                metrics.log_reads.inc()
                (records, floor), known = await in_database(read_hole, partition, start, told)
                purged = await in_database(read_purged, partition, start) if floor > start else []
            except Unavailable:
                metrics.log_read_failures.inc()
                return  # the next hint or look starts again
            if self._places.get(partition) is not place:
                return
            if floor > self.floors[partition]:
                floors = self.floors
                self.floors = (*floors[:partition], floor, *floors[partition + 1 :])
            up_to = records[-1].offset if len(records) == CHUNK else known
            before = place.offset
            due = place.fill(records, up_to=up_to)
            metrics.holes_filled.inc(sum(1 for record in records if record.offset > before))
            self._moved(partition, due, after=before, floor=floor if floor > start else 0)
            if known < told:
                place.let_go(beyond=known)
                metrics.hints_foreign.inc()
                logger.warning("a hint was from beyond the log", partition=partition, told=told)
            if purged:
                self._tell_purged(purged)

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._poll_interval)
            try:
                await self.look()
            except Exception:
                logger.exception("a look at the log failed")

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
        idle = [
            partition
            for partition, since in self._idle_since.items()
            if since < long_ago and not self._needed[partition]
        ]
        for partition in idle:
            self._idle_since.pop(partition, None)
            self._places.pop(partition, None)
            self._snapshot = None
        await asyncio.gather(*(self.bus.unfollow(partition) for partition in idle))
