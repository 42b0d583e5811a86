"""Redelivery: messages that operators, or the retries of acknowledged delivery, want given again.

A row asks for it; each server looks for new ones and serves the connections that it has. Each
connection has a lane of its own, where one wish is carried out after the other under its
backpressure; wishes for all who subscribe have one together, which leaves slow ones to theirs.

Bound: LANE_BOUND wishes may wait in a lane. Policy: over it the newest is given up, like one that
is not taken within GIVE_DEADLINE. Metric: bellwether_redeliveries_given_up.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import structlog
from django.utils import timezone

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import Hub, Subscriber
from notifications.hub.pages import Kept
from notifications.log.read import CHUNK, find_topics, read_of_topics
from notifications.models import Redelivery
from notifications.process.live import LiveConnection
from notifications.services.redelivery import (
    CLOCKS_DIFFER,
    WANTED_AT_ONCE,
    last_redelivery_id,
    take_back_attempt,
    wanted_since,
)
from notifications.stopping import stop_tasks

REDELIVERY_INTERVAL = 1.0
"""Seconds between two looks for wishes."""

GIVE_DEADLINE = 60.0
"""Seconds in which a connection takes the next piece of a wish; else it misses the rest of it."""

PATIENCE = 1.0
"""Seconds in which the connections of a wish for all take a piece; the others have theirs apart."""

LANE_BOUND = 10_000
"""Wishes that may wait for one connection."""

READS_AT_ONCE = 2
"""Reads of the log for wishes that run at once; live delivery needs the other threads."""

RETRY_PAUSE = 1.0
"""Seconds until what could not be read is tried again."""

P = ParamSpec("P")
T = TypeVar("T")

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Part:
    """What of a wish is still to be given.

    after: the offset behind which it begins. until: the loop's time at which it is given up.
    begun: the piece before, where it is still being given.
    """

    wish: Redelivery
    after: int
    until: float
    begun: asyncio.Task[int] | None = None


Lane = Subscriber | None
"""Whose wishes: one connection's, or those for all who subscribe."""


class Redeliveries:
    """Carries out the wishes on one server. by_handle: its connections."""

    def __init__(self, hub: Hub, by_handle: Mapping[uuid.UUID, LiveConnection]) -> None:
        self._hub = hub
        self._by_handle = by_handle
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._epoch = hub.identity.epoch
        self._looked_at = timezone.now()
        self._lanes: dict[Lane, deque[_Part]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    async def start(self) -> None:
        """Begin after the wishes that are there: none of them was for this server."""
        self._last = await in_database(last_redelivery_id)

    async def stop(self) -> None:
        """Give up what has not been given."""
        await stop_tasks(self._tasks)
        self._lanes.clear()

    async def look(self) -> None:
        """Set out to carry out what is new; raises Unavailable."""
        now, epoch = timezone.now(), self._hub.identity.epoch
        newest, wishes = await in_database(lambda: (last_redelivery_id(), wanted_since(self._last)))
        if epoch != self._epoch or newest < self._last:
            # A backup was restored, or all were forgotten: what is new has the age to show it.
            before = self._looked_at - CLOCKS_DIFFER
            self._last = await in_database(last_redelivery_id, before=before)
            self._epoch = epoch
            wishes = await in_database(wanted_since, self._last)
        while wishes:
            for wish in wishes:
                self._take(wish)
                self._last = wish.pk
            if len(wishes) < WANTED_AT_ONCE:
                break
            wishes = await in_database(wanted_since, self._last)
        self._looked_at = now

    # --- Lanes --------------------------------------------------------------------------------

    def _take(self, wish: Redelivery) -> None:
        part = _Part(wish, wish.after, self._loop.time() + GIVE_DEADLINE)
        if wish.session_id is None:
            self._add(None, part)
        elif (connection := self._by_handle.get(wish.session_id)) is not None:
            self._add(connection.subscriber, part)

    def _add(self, lane: Lane, part: _Part) -> None:
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque([part])
            self._begin(self._run(lane, waiting))
        elif len(waiting) < LANE_BOUND:
            waiting.append(part)
        else:
            self._begin(self._give_up(part))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._loop.create_task(work, name="redelivery")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, lane: Lane, waiting: deque[_Part]) -> None:
        until = 0.0
        try:
            while waiting:
                part = waiting.popleft()
                # Whoever reads has its time for each wish; whoever does not, once for all of them.
                part.until = max(part.until, until)
                try:
                    await (self._give_to_all(part) if lane is None else self._give(lane, part))
                    until = self._loop.time() + GIVE_DEADLINE
                except TimeoutError:
                    await self._give_up(part)
                except Exception:
                    logger.exception("a redelivery failed", wish=part.wish.pk)
        finally:
            self._lanes.pop(lane, None)

    async def _give_to_all(self, part: _Part) -> None:
        subscribers = set(self._hub.index.match(part.wish.topic))
        while subscribers and (messages := await self._next(part)):
            giving = {
                self._begin(self._hub.giver.give(subscriber, messages)): subscriber
                for subscriber in subscribers
            }
            given, late = await asyncio.wait(giving, timeout=PATIENCE)
            for task in given:
                if (error := task.exception()) is not None:
                    subscribers.discard(giving[task])
                    logger.error("a redelivery failed", wish=part.wish.pk, exc_info=error)
            until = self._loop.time() + GIVE_DEADLINE
            for task in late:
                subscribers.discard(giving[task])
                self._add(giving[task], _Part(part.wish, part.after, until, begun=task))

    async def _give(self, subscriber: Subscriber, part: _Part) -> None:
        """Give a connection what it has not had; raises TimeoutError when it does not take it."""
        if part.begun is not None:
            async with asyncio.timeout_at(part.until):
                await part.begun
        while not subscriber.is_closed and (messages := await self._next(part)):
            async with asyncio.timeout_at(part.until):
                await self._hub.giver.give(subscriber, messages)
            part.until = self._loop.time() + GIVE_DEADLINE

    async def _give_up(self, part: _Part) -> None:
        metrics.redeliveries_given_up.inc()
        logger.warning("a redelivery was not taken in time", wish=part.wish.pk)
        if part.begun is not None:
            part.begun.cancel()
        if part.wish.session_id is not None:
            await self._read(take_back_attempt, part.wish)

    # --- Reading ------------------------------------------------------------------------------

    async def _next(self, part: _Part) -> list[Kept]:
        """Read the next piece of a wish; nothing when there is no more."""
        wish = part.wish
        if part.after >= wish.up_to:
            return []
        began = self._loop.time()
        topics = await self._read(find_topics, wish.partition, [wish.topic])
        if not topics:
            return []
        reading = await self._read(read_of_topics, wish.partition, topics, part.after, wish.up_to)
        part.until += self._loop.time() - began  # the connection need not answer for the database
        records = reading.records
        part.after = records[-1].offset if len(records) == CHUNK else wish.up_to
        return [Kept(record) for record in records]

    async def _read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something in the database, as often as it takes."""
        while True:
            try:
                async with self._reading:
                    return await in_database(work, *args, **kwargs)
            except Unavailable as error:
                logger.warning("a redelivery waits for the database", error=error.message)
                await asyncio.sleep(RETRY_PAUSE)
