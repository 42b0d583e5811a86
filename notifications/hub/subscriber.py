"""A connection as the hub sees it: what it wants, its buffer, and whether it follows live."""

from collections.abc import Callable
from dataclasses import dataclass

from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded
from notifications.protocol.codec import JSON, Codec
from notifications.recovery.cursor import Offsets
from notifications.recovery.splice import Splice
from notifications.topics.matching import matches


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription as far as delivery is concerned.

    id: the subscription's; empty while it is being made. begin: what lies at or before it, by
    partition, is not wanted. max_age: milliseconds; what was older when it could have been
    replayed is not wanted from a replay. missed: whether anything is wanted from a replay after a
    resume.
    """

    id: str
    begin: Offsets = ()
    max_age: int | None = None
    missed: bool = True

    def begins_before(self, partition: int, offset: int) -> bool:
        """Tell whether a place lies after the beginning."""
        return not self.begin or self.begin[partition] < offset


class Subscriber:
    """The receiving end of one connection.

    codec: what its frames are written in.
    tell_gap: called with (topic or None, reason) when messages may be missing for it.
    lost: called when it cannot be fed from the log any further; it has to resume.
    """

    __slots__ = (
        "_closed",
        "buffer",
        "codec",
        "delivered",
        "detached",
        "lost",
        "splice",
        "tell_gap",
        "told",
        "version",
        "wishes",
    )

    def __init__(
        self,
        buffer: Buffer,
        *,
        codec: Codec = JSON,
        tell_gap: Callable[[str | None, str], None] = lambda topic, reason: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.buffer = buffer
        self.codec = codec
        self.tell_gap = tell_gap
        self.lost = lost
        self.wishes: dict[str, Wish] = {}
        """What it wants, by pattern."""
        self.version = 0
        """Moves whenever `wishes` changes."""
        self.delivered = 0
        self.told: Offsets = ()
        """The offsets of all partitions as this connection was last told them."""
        self.splice: Splice | None = None
        """How far it is fed from the log; None while it follows live."""
        self.detached = 0
        """How many pieces of work keep it from following live."""
        self._closed = False

    def give(self, frame: Encoded) -> None:
        """Put a message into the buffer."""
        if not self._closed and self.buffer.push(frame):
            self.delivered += 1

    def wanting(self, topic: str) -> list[Wish]:
        """Return the wishes whose pattern matches a topic."""
        return [wish for pattern, wish in self.wishes.items() if matches(pattern, topic)]

    @property
    def is_closed(self) -> bool:
        """Whether it takes nothing any more."""
        return self._closed

    def close(self) -> None:
        """Take nothing any more."""
        self._closed = True
