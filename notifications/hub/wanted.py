"""What a replay is asked for, and which messages a connection wants of it. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field

from notifications.hub.subscriber import Subscriber, Wish
from notifications.log.read import Headline
from notifications.log.records import Record
from notifications.recovery.cursor import Offsets
from notifications.topics.grammar import ONE
from notifications.topics.matching import matches


@dataclass(frozen=True, slots=True)
class Caps:
    """How many messages a replay may bring: in all, and (by a policy's name) of its topics."""

    total: int
    of: Callable[[str], tuple[str, int] | None] | None = None


@dataclass(slots=True, kw_only=True)
class Replay:
    """What is wanted from the log.

    after, through: by partition. floors: of the log when it was looked at last.
    only: the pattern of the one subscription that asked; None for all.
    ignore_begin: whether what came before that subscription is wanted too (`since`).
    after_resume: whether this is what a client missed, not what it asked for.
    max_age: milliseconds. permitted: tells by topic. count: messages sent.
    """

    after: Offsets
    through: Offsets
    floors: Offsets
    caps: Caps
    only: str | None = None
    ignore_begin: bool = False
    after_resume: bool = False
    max_age: int | None = None
    permitted: Callable[[str], bool] = lambda topic: True
    count: int = field(default=0)


class Wanted:
    """Tells whether a connection wants a message, and remembers the answer for its topic."""

    def __init__(self, subscriber: Subscriber, replay: Replay | None) -> None:
        self.topics: dict[int, list[int] | None] | None = {} if replay is not None else None
        self._subscriber = subscriber
        self._replay = replay
        self._known: dict[str, list[Wish]] = {}
        self._version = subscriber.version

    def __call__(self, message: Record | Headline, partition: int, now: int) -> bool:
        """Tell it for a message at a moment (milliseconds)."""
        if 0 < message.expires_at <= now:
            return False
        replay = self._replay
        for wish in self._wishes(message.topic):
            if not self._begins_before(wish, partition, message.offset):
                continue
            if replay is None or (wish.max_age is None and replay.max_age is None):
                return True
            ages = [age for age in (wish.max_age, replay.max_age) if age is not None]
            if not ages or now - message.published_at <= min(ages):
                return True
        return False

    def by_place(self, topic: str, partition: int, offset: int) -> bool:
        """Tell it for a place of which nothing else is known any more."""
        return any(self._begins_before(wish, partition, offset) for wish in self._wishes(topic))

    def patterns(self) -> list[str]:
        """Return the patterns that are asked about."""
        replay, wishes = self._replay, self._subscriber.wishes
        if replay is not None and replay.only is not None:
            return [replay.only]
        if replay is not None and replay.after_resume:
            return [pattern for pattern, wish in wishes.items() if wish.missed]
        return list(wishes)

    def _begins_before(self, wish: Wish, partition: int, offset: int) -> bool:
        if self._replay is not None and self._replay.ignore_begin:
            return True
        return wish.begins_before(partition, offset)

    def _wishes(self, topic: str) -> list[Wish]:
        if self._version != self._subscriber.version:
            self._known = {}
            self._version = self._subscriber.version
            if self.topics is not None:
                self.topics = {}
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = self._find(topic)
        return known

    def _find(self, topic: str) -> list[Wish]:
        replay = self._replay
        if replay is None:
            return self._subscriber.wanting(topic)
        if not replay.permitted(topic):
            return []
        if replay.only is not None:
            wish = self._subscriber.wishes.get(replay.only)
            return [wish] if wish is not None and matches(replay.only, topic) else []
        found = self._subscriber.wanting(topic)
        return [wish for wish in found if wish.missed] if replay.after_resume else found


def is_narrow(pattern: str) -> bool:
    """Tell whether a pattern's topics are found by a prefix of two whole segments, or by name."""
    return ONE not in ".".join(pattern.split(".")[:2])
