"""What waits for one connection: bounded in bytes and in messages, in order.

Bound: NOTIFICATIONS_BUFFER_BYTES, and MESSAGES. Policy: ephemeral messages give way as their
topic's policy says (hub/handling.py), and the client is told how many. Where that is not enough,
everything that waits is let go, the connection is closed with 4409 and resumes from the log.
Metrics: bellwether_buffers_overflowed, bellwether_messages_dropped.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from notifications import metrics
from notifications.hub.encoded import ARRAY_BYTES, Encoded, framed_array
from notifications.log.records import now_ms
from notifications.topics.handling import Overflow, Window

MESSAGES = 20_000
"""Frames that may wait, however small they are."""

Write = Callable[[bytes], None]


class Buffer:
    """Encoded frames on their way to a connection.

    Where the peer keeps up, nothing waits: a frame goes through `direct` at once.

    bound: bytes that may wait. wake: called with seconds when something is to be written within
    that time. overflow: called once, when a push went over the bound; nothing is taken in
    afterwards. It is called in the middle of a fan-out, so it must put off whatever touches the
    hub. dropped: called with (topic or None, count) when there is room again after messages were
    dropped; with the topic where all were of one.
    arrays: frames that may share an array; 1 where the client takes none.
    """

    __slots__ = (
        "_bound",
        "_droppable",
        "_dropped",
        "_dropped_topic",
        "_expiring",
        "_frames",
        "_key",
        "_latest",
        "_overflow",
        "_overflowed",
        "_room",
        "_tell_dropped",
        "_wake",
        "arrays",
        "direct",
        "size",
    )

    def __init__(
        self,
        bound: int,
        *,
        wake: Callable[[float], None],
        overflow: Callable[[], None],
        dropped: Callable[[str | None, int], None] = lambda topic, count: None,
    ) -> None:
        self._bound = bound
        self._wake = wake
        self._overflow = overflow
        self._overflowed = False
        self._tell_dropped = dropped
        self._dropped = 0
        self._dropped_topic: str | None = None
        # Most connections keep up most of the time: none of these exists while nothing waits.
        self._frames: OrderedDict[int, Encoded] | None = None
        self._droppable: OrderedDict[int, Encoded] | None = None
        self._latest: dict[str, int] | None = None
        self._room: asyncio.Event | None = None
        self._key = 0
        self._expiring = 0
        self.arrays = 1
        self.direct: Write | None = None
        """Takes bytes for the wire at once; None unless nothing waits and the peer keeps up."""
        self.size = 0

    def push(self, frame: Encoded, window: Window | None = None) -> bool:
        """Put a frame behind the others; False when it was not taken.

        window: how long it may wait for others.
        """
        direct = self.direct
        if direct is not None and window is None:
            direct(frame.framed)
            return True
        if self._overflowed:
            return False
        if self._latest is not None and frame.overflow is Overflow.CONFLATE:
            self._drop_older(frame)
        if self._is_over(frame) and not self._make_room(frame):
            return False
        self._append(frame)
        if window is None or len(self) >= window.size:
            self._wake(0.0)
        else:
            self._wake(window.delay)
        return True

    def _append(self, frame: Encoded) -> None:
        self.direct = None  # what comes now must not overtake this
        if self._frames is None:
            self._frames = OrderedDict()
        self._key += 1
        self._frames[self._key] = frame
        self.size += frame.size
        if frame.overflow is not None:
            if self._droppable is None:
                self._droppable = OrderedDict()
            self._droppable[self._key] = frame
            if self._latest is not None and frame.overflow is Overflow.CONFLATE:
                self._latest[frame.topic] = self._key
        if frame.expires_at:
            self._expiring += 1

    # --- Over the bound -------------------------------------------------------------------------

    def _is_over(self, frame: Encoded) -> bool:
        return self.size + frame.size > self._bound or len(self) >= MESSAGES

    def _make_room(self, frame: Encoded) -> bool:
        """Have messages give way until a frame fits; False when it is not taken."""
        if frame.overflow is Overflow.DROP_NEWEST:
            self._note_dropped(frame)
            return False
        if frame.overflow is Overflow.CONFLATE and self._latest is None:
            self._conflate()
            self._drop_older(frame)
        while self._droppable and self._is_over(frame):
            self._drop(next(iter(self._droppable)))
        if not self._is_over(frame):
            return True
        if frame.overflow is None:
            self.overrun()
        else:
            self._note_dropped(frame)
        return False

    def _conflate(self) -> None:
        """Keep only the latest of each topic that allows it, from now until nothing waits."""
        self._latest = {}
        for key, frame in list((self._droppable or {}).items()):
            if frame.overflow is Overflow.CONFLATE:
                self._drop_older(frame)
                self._latest[frame.topic] = key

    def _drop_older(self, frame: Encoded) -> None:
        assert self._latest is not None
        key = self._latest.pop(frame.topic, None)
        if key is not None and self._droppable is not None and key in self._droppable:
            self._drop(key)

    def _drop(self, key: int) -> None:
        assert self._frames is not None
        assert self._droppable is not None
        frame = self._frames.pop(key)
        del self._droppable[key]
        if frame.expires_at:
            self._expiring -= 1
        self._is_latest_no_more(key, frame)
        self.size -= frame.size
        self._note_dropped(frame)

    def _is_latest_no_more(self, key: int, frame: Encoded) -> None:
        # Else the topics of a buffer that never empties would gather without a bound.
        if self._latest is not None and self._latest.get(frame.topic) == key:
            del self._latest[frame.topic]

    def _note_dropped(self, frame: Encoded) -> None:
        metrics.messages_dropped.inc()
        self._dropped_topic = (
            frame.topic if self._dropped == 0 or self._dropped_topic == frame.topic else None
        )
        self._dropped += 1

    def overrun(self) -> None:
        """Let everything go and take nothing any more: the bound is exceeded."""
        if self._overflowed:
            return
        self._overflowed = True
        self.direct = None
        self._dropped = 0
        self._emptied()
        self._freed(self.size)
        metrics.buffers_overflowed.inc()
        self._overflow()

    # --- Room -----------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether half of the bound is free."""
        return self.size <= self._bound // 2 and len(self) <= MESSAGES // 2

    async def room(self, *, within: float) -> bool:
        """Wait until half of the bound is free, as whoever sends much must between two pieces.

        False when the peer did not read so much in so many seconds: the buffer is then overrun.
        """
        if self.has_room:
            return not self._overflowed
        if self._room is None:
            self._room = asyncio.Event()  # one for all who wait
        try:
            async with asyncio.timeout(within):
                await self._room.wait()
        except TimeoutError:
            self.overrun()
        return not self._overflowed

    def _freed(self, size: int) -> None:
        self.size -= size
        if self._room is not None and self.has_room:
            self._room.set()
            self._room = None
        if self._dropped and self.has_room:
            topic, count = self._dropped_topic, self._dropped
            self._dropped, self._dropped_topic = 0, None
            self._tell_dropped(topic, count)

    # --- Taking ---------------------------------------------------------------------------------

    def peek(self) -> list[Encoded]:
        """Return the frames of the next WebSocket message, which is about to be sent; they stay."""
        self._expire()
        frames = self._first(ARRAY_BYTES)
        if self._droppable is not None and self._frames is not None:
            for key in islice(self._frames, len(frames)):
                self._droppable.pop(key, None)  # what is on its way does not give way
        return frames

    def sent(self, frames: list[Encoded]) -> None:
        """Take away what was peeked at, as far as it is still there."""
        for frame in frames:
            if self._frames and next(iter(self._frames.values())) is frame:
                self._pop_first()

    def pop(self) -> Encoded | None:
        """Take the frame that has waited longest, or None."""
        self._expire()
        return self._pop_first() if self._frames else None

    def take(self, most: int) -> list[bytes]:
        """Take frames as they go on the wire: the first, and more up to `most` bytes in all."""
        self._expire()
        if self.arrays == 1 and self._frames is not None and self.size <= most:
            taken = [frame.framed for frame in self._frames.values()]
            self._emptied()
            self._freed(self.size)
            return taken
        taken, left = [], most
        while frames := self._first(ARRAY_BYTES if not taken else min(left, ARRAY_BYTES)):
            left -= sum(frame.size for frame in frames)
            if taken and left < 0:
                break
            taken.append(framed_array(frames))
            for _ in frames:
                self._pop_first()
        return taken

    def _first(self, most: int) -> list[Encoded]:
        """Return what shares the next WebSocket message: a frame, and more up to `most` bytes."""
        found: list[Encoded] = []
        for frame in (self._frames or {}).values():
            most -= frame.size
            if found and most < 0:
                break
            found.append(frame)
            if len(found) == self.arrays:
                break
        return found

    def _pop_first(self) -> Encoded:
        assert self._frames is not None
        key, frame = self._frames.popitem(last=False)
        if self._droppable is not None:
            self._droppable.pop(key, None)
        self._is_latest_no_more(key, frame)
        if frame.expires_at:
            self._expiring -= 1
        if not self._frames:
            self._emptied()
        self._freed(frame.size)
        return frame

    def _emptied(self) -> None:
        self._frames = self._droppable = self._latest = None
        self._expiring = 0

    def _expire(self) -> None:
        """Let go of what has expired while it waited."""
        if not self._expiring or self._frames is None:
            return
        now = now_ms()
        expired = [key for key, frame in self._frames.items() if 0 < frame.expires_at <= now]
        for key in expired:
            frame = self._frames.pop(key)
            if self._droppable is not None:
                self._droppable.pop(key, None)
            self._is_latest_no_more(key, frame)
            self._expiring -= 1
            self._freed(frame.size)
        metrics.messages_expired.inc(len(expired))
        if not self._frames:
            self._emptied()

    def __len__(self) -> int:
        return len(self._frames) if self._frames is not None else 0
