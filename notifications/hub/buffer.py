"""What waits for one connection: bounded in bytes, in order.

Bound: NOTIFICATIONS_BUFFER_BYTES. Policy: over it everything that waits is let go, the connection
is closed with 4409 and resumes from the log. Metric: bellwether_buffers_overflowed.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from notifications import metrics
from notifications.hub.encoded import Encoded
from notifications.log.records import now_ms

logger = structlog.get_logger(__name__)


class Buffer:
    """Encoded frames on their way to a connection.

    bound: bytes that may wait.
    wake: called whenever the buffer stops being empty.
    overflow: called once, when a push went over the bound; nothing is taken in afterwards. It is
        called in the middle of a fan-out, so it must put off whatever touches the hub.
    """

    __slots__ = (
        "_bound",
        "_expiring",
        "_frames",
        "_overflow",
        "_overflowed",
        "_room",
        "_wake",
        "size",
    )

    def __init__(
        self, bound: int, *, wake: Callable[[], None], overflow: Callable[[], None]
    ) -> None:
        self._frames: deque[Encoded] = deque()
        self._bound = bound
        self._wake = wake
        self._overflow = overflow
        self._overflowed = False
        self._expiring = 0
        self._room: asyncio.Event | None = None
        self.size = 0

    def push(self, frame: Encoded) -> bool:
        """Put a frame behind the others; False when it was not taken."""
        if self._overflowed:
            return False
        size = self.size + frame.size
        if size > self._bound:
            self.overrun()
            return False
        if not self._frames:
            self._wake()
        self._frames.append(frame)
        self.size = size
        if frame.expires_at:
            self._expiring += 1
        return True

    @property
    def has_room(self) -> bool:
        """Whether half of the bound is free."""
        return self.size <= self._bound // 2

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

    def overrun(self) -> None:
        """Let everything go and take nothing any more: the bound is exceeded."""
        if self._overflowed:
            return
        self._overflowed = True
        self._frames.clear()
        self._freed(self.size)
        metrics.buffers_overflowed.inc()
        self._overflow()

    def peek(self) -> Encoded | None:
        """Return the frame that has waited longest, or None; it stays."""
        self._expire()
        return self._frames[0] if self._frames else None

    def pop(self) -> Encoded | None:
        """Take the frame that has waited longest, or None."""
        self._expire()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._freed(frame.size)
        return frame

    def take(self, most: int) -> list[bytes]:
        """Take frames as they go on the wire: the first, and more up to `most` bytes in all."""
        self._expire()
        frames = self._frames
        if self.size <= most:
            taken = [frame.framed for frame in frames]
            frames.clear()
            self._freed(self.size)
            return taken
        taken = []
        total = 0
        while frames and (not taken or total + frames[0].size <= most):
            frame = frames.popleft()
            total += frame.size
            taken.append(frame.framed)
        self._freed(total)
        return taken

    def _freed(self, size: int) -> None:
        self.size -= size
        if self._room is not None and self.has_room:
            self._room.set()
            self._room = None

    def _expire(self) -> None:
        """Let go of what has expired while it waited."""
        if not self._expiring:
            return
        now = now_ms()
        kept = [frame for frame in self._frames if not 0 < frame.expires_at <= now]
        if len(kept) < len(self._frames):
            metrics.messages_expired.inc(len(self._frames) - len(kept))
            self._freed(self.size - sum(frame.size for frame in kept))
            self._frames = deque(kept)
        self._expiring = sum(1 for frame in kept if frame.expires_at)

    def __len__(self) -> int:
        return len(self._frames)


class Flusher:
    """What is to be written in the next turn of an event loop, all in one go.

    Bound: one entry for each connection whose buffer stopped being empty in this turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Callable[[], None]] = []

    def add(self, flush: Callable[[], None]) -> None:
        """Have a connection written in the next turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flush in waiting:
            try:
                flush()
            except Exception:
                logger.exception("a connection could not be written to")
