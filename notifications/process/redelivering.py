"""Redelivery: messages that operators, or the retries of acknowledged delivery, want given again.

A row asks for it; each server looks for new ones and serves the connections that it has. One wish
is carried out at a time, under the backpressure of the connections that it concerns.
"""

import asyncio
import uuid
from collections.abc import Mapping

import structlog

from notifications.database import in_database
from notifications.hub import Hub, Subscriber
from notifications.hub.pages import Kept
from notifications.log.read import CHUNK, find_topics, read_of_topics
from notifications.log.records import Record
from notifications.models import Redelivery
from notifications.process.live import LiveConnection
from notifications.services.redelivery import WANTED_AT_ONCE, last_redelivery_id, wanted_since

REDELIVERY_INTERVAL = 1.0
"""Seconds between two looks for wishes."""

GIVE_DEADLINE = 60.0
"""Seconds for one piece of a wish; connections that read more slowly miss the rest of it."""

logger = structlog.get_logger(__name__)


class Redeliveries:
    """Carries out the wishes on one server. by_handle: its connections."""

    def __init__(self, hub: Hub, by_handle: Mapping[uuid.UUID, LiveConnection]) -> None:
        self._hub = hub
        self._by_handle = by_handle
        self._last = 0

    async def start(self) -> None:
        """Begin after the wishes that are there: none of them was for this server."""
        self._last = await in_database(last_redelivery_id)

    async def look(self) -> None:
        """Carry out what is new."""
        while wishes := await in_database(wanted_since, self._last):
            for wish in wishes:
                self._last = wish.pk
                await self._carry_out(wish)
            if len(wishes) < WANTED_AT_ONCE:
                return

    async def _carry_out(self, wish: Redelivery) -> None:
        subscribers = self._subscribers(wish)
        if not subscribers:
            return
        topics = await in_database(find_topics, wish.partition, [wish.topic])
        place = wish.after
        while topics and place < wish.up_to:
            reading = await in_database(read_of_topics, wish.partition, topics, place, wish.up_to)
            await self._give(subscribers, reading.records)
            if len(reading.records) < CHUNK:
                return
            place = reading.records[-1].offset

    def _subscribers(self, wish: Redelivery) -> list[Subscriber]:
        if wish.session_id is None:
            return list(self._hub.index.match(wish.topic))
        connection = self._by_handle.get(wish.session_id)
        return [connection.subscriber] if connection is not None else []

    async def _give(self, subscribers: list[Subscriber], records: list[Record]) -> None:
        messages = [Kept(record) for record in records]
        try:
            async with asyncio.timeout(GIVE_DEADLINE):
                await asyncio.gather(
                    *(self._hub.giver.give(subscriber, messages) for subscriber in subscribers)
                )
        except TimeoutError:
            logger.warning("a redelivery was not taken in time", messages=len(records))
