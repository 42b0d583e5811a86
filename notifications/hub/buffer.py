"""What waits for one connection: bounded in bytes, in order.

Bound: NOTIFICATIONS_BUFFER_BYTES. Policy: over it everything that waits is let go, the connection
is closed with 4409 and resumes from the log. Metric: bellwether_buffers_overflowed.
"""

from collections import deque
from collections.abc import Callable

from notifications import metrics


class Buffer:
    """Encoded frames on their way to a connection.

    bound: bytes that may wait.
    wake: called whenever the buffer stops being empty.
    overflow: called once, when a push went over the bound; nothing is taken in afterwards. It is
        called in the middle of a fan-out, so it must put off whatever touches the hub.
    """

    __slots__ = ("_bound", "_frames", "_overflow", "_overflowed", "_wake", "size")

    def __init__(
        self, bound: int, *, wake: Callable[[], None], overflow: Callable[[], None]
    ) -> None:
        self._frames: deque[tuple[str, int]] = deque()
        self._bound = bound
        self._wake = wake
        self._overflow = overflow
        self._overflowed = False
        self.size = 0

    def push(self, frame: str, size: int) -> bool:
        """Put a frame of `size` encoded bytes behind the others; False when it was not taken."""
        if self._overflowed:
            return False
        if self.size + size > self._bound:
            self._overflowed = True
            self._frames.clear()
            self.size = 0
            metrics.buffers_overflowed.inc()
            self._overflow()
            return False
        if not self._frames:
            self._wake()
        self._frames.append((frame, size))
        self.size += size
        return True

    def pop(self) -> str | None:
        """Take the frame that has waited longest, or None."""
        if not self._frames:
            return None
        frame, size = self._frames.popleft()
        self.size -= size
        return frame

    def __len__(self) -> int:
        return len(self._frames)
