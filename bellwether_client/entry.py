"""What the server holds for this client under one topic or pattern, and who shares it here."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bellwether_client.cursor import Cursor, Position
from bellwether_client.progress import Place, Step
from bellwether_client.subscription import LocalSubscription, Message
from bellwether_client.topics import split

if TYPE_CHECKING:
    from bellwether_client.replays import Replay

SHARED_OPTIONS = ("replayMissed", "maxReplayAge", "filter")
"""Options in which all who share an entry must agree. (`since` concerns its beginning alone.)"""

SENT_OPTIONS = ("maxReplayAge", "filter", "batch")
"""Options by which the server decides what it sends, and how, for as long as it holds one."""

ORPHAN_BOUND = 1_000
"""Messages that wait for a handler of an entry that has none. Over it the oldest is let go, and
the application hears of the first."""


class Entry:
    """One topic or pattern.

    options: as `subscribe` carries them. held_id: the server's id, while connected and confirmed.
    is_asking: whether a `subscribe` is on its way, or waits for its turn. was_confirmed: whether
    the server ever had it; then a refusal that is temporary does not end it. is_orphan: whether
    nobody here has asked for it yet. is_unheard: whether no handler has had any of it: what came
    is kept. is_new: whether the server has never been asked for it by this client. is_recalled:
    whether an earlier run of this client had it. is_outdated: whether all who had asked for it left
    before the answer, and others want it now. owed: the replay with which it begins, and place: how
    far its handlers are in it.
    """

    __slots__ = (
        "_kept",
        "created_at",
        "held_id",
        "is_asking",
        "is_new",
        "is_orphan",
        "is_outdated",
        "is_recalled",
        "is_told",
        "is_unheard",
        "locals",
        "options",
        "owed",
        "place",
        "segments",
        "told_loss",
        "topic",
        "was_confirmed",
    )

    def __init__(
        self, topic: str, options: dict[str, Any], *, created_at: datetime, is_orphan: bool
    ) -> None:
        self.topic = topic
        self.segments = split(topic)
        self.options = options
        self.created_at = created_at
        self.locals: list[LocalSubscription] = []
        self.held_id: str | None = None
        self.is_asking = False
        self.was_confirmed = is_orphan
        self.is_orphan = self.is_unheard = is_orphan
        self.is_new = not is_orphan
        self.is_recalled = False
        self.is_outdated = False
        self.is_told = False
        self.told_loss = False
        self.owed: Replay | None = None
        self.place: Place | None = None
        self._kept: deque[tuple[Message, Step, bool]] = deque()

    @property
    def waiting(self) -> int:
        """How many messages wait for a handler to come, or for a replay that is owed."""
        return len(self._kept) + sum(local.held for local in self.locals)

    @property
    def replay_from(self) -> Cursor | None:
        """Where that replay goes on after a restart; None when all of it has been handled."""
        if self.place is None or (self.owed is None and not self.place.running):
            return None
        return self.place.snapshot()

    @property
    def asks_newest(self) -> bool:
        """Whether it begins with the newest n."""
        since = self.options.get("since")
        return isinstance(since, dict) and "last" in since

    def begin(self, cursor: Cursor) -> None:
        """Begin with a replay from there, unless handlers are still in the one before it."""
        if self.place is None or not self.place.running or self.place.epoch != cursor.epoch:
            self.place = Place(cursor)

    def replayed(self, position: Position, step: Step) -> None:
        """Take a message of that replay."""
        if self.place is not None:
            self.place.take(position, step)

    def agrees(self, options: Mapping[str, Any]) -> bool:
        """Tell whether somebody with these options may share it."""
        return all(self.options.get(key) == options.get(key) for key in SHARED_OPTIONS)

    def take_over(self, options: dict[str, Any]) -> None:
        """Get the options of its first local subscription, which it is for from now on."""
        self.is_new = "since" in options and not self.is_recalled
        self.options = options
        self.is_orphan = False

    def recall(self) -> None:
        """Note that an earlier run of this client had it: it has begun."""
        self.was_confirmed = self.is_recalled = True
        self.is_new = False

    def renew(self, options: dict[str, Any]) -> None:
        """Be another to the server, for those who come after all others left."""
        self.options = options
        self.is_new, self.was_confirmed, self.place = True, False, None
        self.is_asking = self.is_outdated = self.owed is None or self.owed.id is not None

    def keep(self, message: Message, step: Step, *, is_asked: bool = False) -> bool:
        """Keep a message until a handler comes; True when one had to go, for the first time.

        is_asked: whether it is of the replay that is owed.
        """
        self._kept.append((message, step, is_asked))
        if len(self._kept) <= ORPHAN_BOUND:
            return False
        self._kept.popleft()[1].settle()
        is_first, self.told_loss = not self.told_loss, True
        return is_first

    def hand_over(self) -> None:
        """Give what was kept to who is here now."""
        kept, self._kept = self._kept, deque()
        self.told_loss = self.is_unheard = False
        asked = {message.position for message, _, is_asked in kept if is_asked}
        for message, step, is_asked in kept:
            if not is_asked and message.position is not None and message.position in asked:
                step.settle()  # the replay has brought it, in its order
                continue
            takers = [local for local in self.locals if is_asked or local.wants(message)]
            step.add(len(takers))
            for local in takers:
                if is_asked:
                    local.bring(message, step)
                else:
                    local.deliver(message, step)
            step.settle()

    def let_go(self) -> None:
        """Let what is kept count as handled."""
        kept, self._kept = self._kept, deque()
        for _, step, _ in kept:
            step.settle()

    def forget(self) -> None:
        """Forget what waits: it comes again."""
        self._kept.clear()
        for local in self.locals:
            local.forget()

    def release(self, replay: "Replay") -> None:
        """Note that a replay is over, or given up."""
        if self.owed is replay:
            self.owed = None
        for local in list(self.locals):
            local.release(replay)


def serves(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether what the server holds with some options sends what others ask for."""
    is_whole = held.get("replayMissed") is not False or wanted.get("replayMissed") is False
    return is_whole and all(_same(held.get(key), wanted.get(key)) for key in SENT_OPTIONS)


def _same(one: object, other: object) -> bool:
    """Tell whether two values are the same on the wire."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
