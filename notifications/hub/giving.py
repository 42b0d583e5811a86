"""Messages given once more: what operators, or the retries of acknowledged delivery, ask for."""

import asyncio
from collections.abc import Callable, Sequence

from notifications.hub.content import Content
from notifications.hub.pages import Kept
from notifications.hub.replay import ROOM_DEADLINE
from notifications.hub.subscriber import Subscriber
from notifications.hub.survey import BREATH
from notifications.log.records import Record, now_ms
from notifications.recovery.cursor import Offsets

DETACHED_PAUSE = 0.05
"""Seconds between two looks whether a connection follows live again."""


def wants(subscriber: Subscriber, record: Record) -> bool:
    """Tell whether a message matches one of a connection's subscriptions, and passes its filter."""
    content = Content(record)
    return any(
        wish.filter is None or wish.filter(content) for wish in subscriber.wanting(record.topic)
    )


class Giver:
    """Gives messages of the log once more. place: that of the hub."""

    def __init__(self, place: Callable[[], Offsets]) -> None:
        self._place = place
        self._turn = asyncio.Lock()  # held for one turn of the loop, however many give at once

    async def give(self, subscriber: Subscriber, messages: Sequence[Kept]) -> int:
        """Send messages (in the log's order) flagged, as far as a connection wants them; return
        how many that were. Make them once for all who get them.

        What has not been delivered live yet is left out: it will be, and given before, it would
        take its client's cursor past all that comes between.
        """
        done = given = 0
        while done < len(messages) and not subscriber.is_closed:
            await self._attached(subscriber)
            if not await subscriber.buffer.room(within=ROOM_DEADLINE):
                break
            async with self._turn:
                looked, sent = self._give_some(subscriber, messages[done : done + BREATH])
                done, given = done + looked, given + sent
                await asyncio.sleep(0)
        return given

    async def _attached(self, subscriber: Subscriber) -> None:
        while subscriber.splice is not None and not subscriber.is_closed:  # noqa: ASYNC110
            # Its client would take these for missed ones.
            await asyncio.sleep(DETACHED_PAUSE)

    def _give_some(self, subscriber: Subscriber, messages: Sequence[Kept]) -> tuple[int, int]:
        """Give messages in one go while there is room; return how many were looked at, and how
        many given."""
        now, place = now_ms(), self._place()
        given = 0
        for number, kept in enumerate(messages):
            detached = subscriber.splice is not None
            if detached or subscriber.is_closed or not subscriber.buffer.has_room:
                return number, given
            record = kept.record
            if record.offset > place[record.partition] or 0 < record.expires_at <= now:
                continue
            if wants(subscriber, record):
                subscriber.give(kept.frame(subscriber.codec, replayed=True))
                given += 1
        return len(messages), given
