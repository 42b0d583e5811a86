"""What a replay is asked for, and which messages a connection wants of it. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass

from notifications.hub.content import Content
from notifications.hub.subscriber import Subscriber, Wish
from notifications.log.headlines import Headline
from notifications.log.records import Record
from notifications.recovery.cursor import Offsets
from notifications.recovery.splice import Splice
from notifications.topics.grammar import is_pattern
from notifications.topics.matching import matches

KNOWN_TOPICS = 2_000
"""Topics for which one replay remembers who wants them; more are matched anew."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How many messages a replay may bring: in all, and (by a policy's name) of its topics.

    least: the smallest of these numbers; so many messages are within all of them.
    """

    total: int
    of: Callable[[str], tuple[str, int] | None] | None = None
    least: int = 0


@dataclass(slots=True, kw_only=True)
class Replay:
    """What is wanted from the log.

    after, through: by partition. floors: of the log when it was looked at last.
    only: the pattern of the one subscription that asked; None for all.
    besides: whether what other subscriptions want is left out, as the client has had it live.
    ignore_begin: whether what came before that subscription is wanted too (`since`).
    after_resume: whether this is what a client missed, not what it asked for.
    max_age: milliseconds. permitted: tells by topic. count: messages sent. splice: where it stands
    while it goes out.
    """

    after: Offsets
    through: Offsets
    floors: Offsets
    caps: Caps
    only: str | None = None
    besides: bool = False
    ignore_begin: bool = False
    after_resume: bool = False
    max_age: int | None = None
    permitted: Callable[[str], bool] = lambda topic: True
    count: int = 0
    splice: Splice | None = None


class Wanted:
    """Tells whether a connection wants a message, and remembers the answer for some topics."""

    def __init__(self, subscriber: Subscriber, replay: Replay | None) -> None:
        self._subscriber = subscriber
        self._replay = replay
        self._known: dict[str, list[Wish]] = {}
        self._version = -1
        self._wild: list[tuple[str, Wish]] = []

    def __call__(self, message: Record | Headline, partition: int, now: int) -> bool:
        """Tell it for a message at a moment (milliseconds).

        Of a headline: whether it may be wanted, as a filter needs the message; see `is_certain`.
        """
        if 0 < message.expires_at <= now:
            return False
        if self._replay is not None and self._replay.besides and self._is_had(message, partition):
            return False
        content: Content | None = None
        for wish in self._wishes(message.topic):
            if not self._begins_before(wish, partition, message.offset):
                continue
            if self._is_too_old(wish, message, now):
                continue
            if wish.filter is None or isinstance(message, Headline):
                return True
            content = content or Content(message)
            if wish.filter(content):
                return True
        return False

    def _is_had(self, message: Record | Headline, partition: int) -> bool:
        """Tell whether a subscription that is not asked about has wanted a message."""
        assert self._replay is not None
        for pattern, wish in self._subscriber.wishes.items():
            if pattern == self._replay.only or not matches(pattern, message.topic):
                continue
            if not wish.begins_before(partition, message.offset):
                continue
            if wish.filter is None:
                return True
            if not isinstance(message, Headline) and wish.filter(Content(message)):
                return True
        return False

    def is_certain(self, topic: str) -> bool:
        """Tell whether a headline of a topic says all that it takes: nothing there is filtered."""
        return all(wish.filter is None for wish in self._wishes(topic))

    def _is_too_old(self, wish: Wish, message: Record | Headline, now: int) -> bool:
        if self._replay is None:
            return False
        asked, own = self._replay.max_age, wish.max_age
        if asked is None and own is None:
            return False
        ages = [age for age in (own, asked) if age is not None]
        return now - message.published_at > min(ages)

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

    def oldest(self) -> int | None:
        """Return the age (ms) beyond which nothing is wanted; None where there is none."""
        asked = self._replay.max_age if self._replay is not None else None
        wishes = self._subscriber.wishes
        ages = [wishes[pattern].max_age for pattern in self.patterns() if pattern in wishes]
        own = [age for age in ages if age is not None]
        limits = [max(own)] if own and len(own) == len(ages) else []
        return min([*limits, asked] if asked is not None else limits, default=None)

    def _begins_before(self, wish: Wish, partition: int, offset: int) -> bool:
        if self._replay is not None and self._replay.ignore_begin:
            return True
        return wish.begins_before(partition, offset)

    def _wishes(self, topic: str) -> list[Wish]:
        if self._version != self._subscriber.version:
            self._version = self._subscriber.version
            self._known = {}
            wishes = self._subscriber.wishes.items()
            self._wild = [(pattern, wish) for pattern, wish in wishes if is_pattern(pattern)]
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= KNOWN_TOPICS:
                self._known.clear()
            known = self._known[topic] = self._find(topic)
        return known

    def _find(self, topic: str) -> list[Wish]:
        replay = self._replay
        if replay is not None and not replay.permitted(topic):
            return []
        wishes = self._subscriber.wishes
        if replay is not None and replay.only is not None:
            wish = wishes.get(replay.only)
            return [wish] if wish is not None and matches(replay.only, topic) else []
        found = [wish for pattern, wish in self._wild if matches(pattern, topic)]
        if topic in wishes:
            found.append(wishes[topic])
        if replay is not None and replay.after_resume:
            return [wish for wish in found if wish.missed]
        return found
