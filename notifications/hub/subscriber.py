"""A connection as the hub sees it: what it wants, its buffer, and whether it follows live."""

from collections.abc import Callable
from dataclasses import dataclass

from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded
from notifications.protocol.codec import JSON, Codec
from notifications.recovery.cursor import Offsets
from notifications.recovery.splice import Splice
from notifications.topics.filters import Filter
from notifications.topics.handling import Handling, Window
from notifications.topics.matching import matches

KNOWN_TOPICS = 1_000
"""Topics whose windows, and whose filters, a connection remembers."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription as far as delivery is concerned.

    id: the subscription's; empty while it is being made. begin: what lies at or before it, by
    partition, is not wanted. max_age: milliseconds; what was older when it could have been
    replayed is not wanted from a replay. missed: whether anything is wanted from a replay after a
    resume. window: how long a live message may wait for others; None where that is left open.
    filter: which messages are wanted; None for all.
    """

    id: str
    begin: Offsets = ()
    max_age: int | None = None
    missed: bool = True
    window: Window | None = None
    filter: Filter | None = None

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
        "_filters",
        "acked",
        "buffer",
        "client_window",
        "codec",
        "delivered",
        "detached",
        "is_plain",
        "lost",
        "splice",
        "tell_gap",
        "told",
        "version",
        "windows",
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
        self.acked: Offsets = ()
        """How far its client has come, as that said last: with its `ack`, or when it resumed. Where
        the log began a new life since, the place that its `gap` told."""
        self.splice: Splice | None = None
        """How far it is fed from the log; None while it follows live."""
        self.detached = 0
        """How many pieces of work keep it from following live."""
        self.client_window: Window | None = None
        """How long its live messages may wait for others, as the client said for all of them."""
        self.windows: dict[str, list[Window | None]] | None = None
        """The same by topic, for each wish that matches; None while it leaves all of it open."""
        self.is_plain = True
        """Whether it wants whatever matches, and leaves it open how long that may wait."""
        self._filters: dict[str, tuple[Filter, ...] | None] | None = None
        self._closed = False

    def give(self, frame: Encoded, window: Window | None = None) -> None:
        """Put a message into the buffer; window: how long it may wait for others."""
        if not self._closed and self.buffer.push(frame, window):
            self.delivered += 1

    def changed(self) -> None:
        """Take note that `wishes` or `client_window` changed."""
        self.version += 1
        own = self.client_window or any(wish.window for wish in self.wishes.values())
        self.windows = {} if own else None
        self._filters = {} if any(wish.filter for wish in self.wishes.values()) else None
        self.is_plain = self.windows is None and self._filters is None

    def filters(self, topic: str) -> tuple[Filter, ...] | None:
        """Return the filters of which one must want a message of a topic; None where all are
        wanted, as by a wish without a filter.
        """
        if self._filters is None:
            return None
        if topic in self._filters:
            return self._filters[topic]
        if len(self._filters) >= KNOWN_TOPICS:
            self._filters.clear()
        own = [wish.filter for wish in self.wanting(topic)]
        found = tuple(one for one in own if one is not None)
        self._filters[topic] = kept = found if len(found) == len(own) else None
        return kept

    def window(self, topic: str, rules: Handling) -> Window | None:
        """Return how long a live message may wait for others.

        A wish's own window counts before the client's, and that before the policy's (`rules`); of
        several wishes the one that waits least.
        """
        if self.windows is None:
            return rules.window
        found = self.windows.get(topic)
        if found is None:
            if len(self.windows) >= KNOWN_TOPICS:
                self.windows.clear()
            found = [wish.window or self.client_window for wish in self.wanting(topic)]
            self.windows[topic] = found
        windows = [window or rules.window for window in found]
        if not windows or None in windows:
            return None
        return min((window for window in windows if window is not None), key=lambda w: w.delay)

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
