"""A connection as the hub sees it: its patterns, its buffer, and what is held back for a moment."""

from collections.abc import Callable

from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded


class Subscriber:
    """The receiving end of one connection.

    While it is held (a subscription is being written, later: a replay is going out), live messages
    wait in order and nothing overtakes them. What is held counts against a bound of its own, as
    large as the buffer's.
    """

    __slots__ = (
        "_closed",
        "_held",
        "_held_size",
        "_holds",
        "bound",
        "buffer",
        "delivered",
        "patterns",
        "told",
    )

    def __init__(self, buffer: Buffer, *, bound: int) -> None:
        self.buffer = buffer
        self.bound = bound
        self.patterns: dict[str, str] = {}
        """Pattern → subscription id."""
        self.delivered = 0
        self.told: tuple[int, ...] = ()
        """The offsets of all partitions as this connection was last told them."""
        self._holds = 0
        self._held: list[tuple[str, Encoded]] = []
        self._held_size = 0
        self._closed = False

    @property
    def held(self) -> bool:
        """Whether live messages wait."""
        return self._holds > 0

    def deliver(self, topic: str, frame: Encoded) -> None:
        """Give the connection a message, or hold it back."""
        if self._closed:
            return
        if self._holds:
            self._hold_back(topic, frame)
        elif self.buffer.push(frame):
            self.delivered += 1

    def hold(self) -> None:
        """Hold live messages back until as many calls of `release`."""
        self._holds += 1

    def release(self, *, wanted: Callable[[str], bool] | None = None) -> None:
        """Let held messages go; `wanted` tells by topic which still concern this connection."""
        self._holds -= 1
        if wanted is not None:
            self._held = [entry for entry in self._held if wanted(entry[0])]
        if self._holds:
            return
        held, self._held, self._held_size = self._held, [], 0
        for topic, frame in held:
            self.deliver(topic, frame)

    def close(self) -> None:
        """Take nothing any more, and let go of what is held back."""
        self._closed = True
        self._held, self._held_size = [], 0

    def _hold_back(self, topic: str, frame: Encoded) -> None:
        self._held_size += frame.size
        if self._held_size <= self.bound:
            self._held.append((topic, frame))
        else:
            self._held.clear()
            self.buffer.overrun()
