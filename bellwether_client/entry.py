"""What the server holds for this client under one topic or pattern, and who shares it here."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bellwether_client.progress import Step
from bellwether_client.subscription import LocalSubscription, Message
from bellwether_client.topics import split

if TYPE_CHECKING:
    from bellwether_client.replays import Replay

SHARED_OPTIONS = ("replayMissed", "maxReplayAge", "filter", "since")
"""Options in which all who share an entry must agree."""

ORPHAN_BOUND = 1_000
"""Messages that wait for a handler of an entry that has none. Over it the oldest is let go, and
the application hears of the first."""


class Entry:
    """One topic or pattern.

    options: as `subscribe` carries them. held_id: the server's id, while connected and confirmed.
    is_asking: whether a `subscribe` is on its way, or waits for its turn. was_confirmed: whether
    the server ever had it; then a refusal that is temporary does not end it. may_be_held: whether
    it was asked for at least, or one before it of the same topic. is_orphan: whether
    nobody here has asked for it yet. is_new: whether the server has never been asked for it by
    this client, with these options. is_recalled: whether an earlier run of this client had it.
    is_outdated: whether all who had asked for it left before the answer, and others want other
    options. owed: the replay with which it begins.
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
        "locals",
        "may_be_held",
        "options",
        "owed",
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
        self.was_confirmed = self.may_be_held = is_orphan
        self.is_orphan = is_orphan
        self.is_new = not is_orphan
        self.is_recalled = False
        self.is_outdated = False
        self.is_told = False
        self.told_loss = False
        self.owed: Replay | None = None
        self._kept: deque[tuple[Message, Step]] = deque()

    @property
    def waiting(self) -> int:
        """How many messages wait for a handler to come, or for a replay that is owed."""
        return len(self._kept) + sum(local.held for local in self.locals)

    def agrees(self, options: Mapping[str, Any]) -> bool:
        """Tell whether somebody with these options may share it."""
        return all(self.options.get(key) == options.get(key) for key in SHARED_OPTIONS)

    def take_over(self, options: dict[str, Any]) -> None:
        """Get the options of its first local subscription, which it is for from now on."""
        asks_since = "since" in options and not self.is_recalled
        self.is_new = asks_since or not self.agrees(options)
        self.options = options
        self.is_orphan = False

    def renew(self, options: dict[str, Any]) -> None:
        """Be another to the server, for those who come after all others left."""
        self.options = options
        self.is_new, self.was_confirmed = True, False
        self.is_asking = self.is_outdated = self.owed is None or self.owed.id is not None

    def keep(self, message: Message, step: Step) -> bool:
        """Keep a message until a handler comes; True when one had to go, for the first time."""
        self._kept.append((message, step))
        if len(self._kept) <= ORPHAN_BOUND:
            return False
        self._kept.popleft()[1].settle()
        is_first, self.told_loss = not self.told_loss, True
        return is_first

    def hand_over(self) -> None:
        """Give what was kept to who is here now."""
        kept, self._kept = self._kept, deque()
        self.told_loss = False
        for message, step in kept:
            takers = [local for local in self.locals if local.wants(message)]
            step.add(len(takers))
            for local in takers:
                local.deliver(message, step)
            step.settle()

    def let_go(self) -> None:
        """Let what is kept count as handled."""
        kept, self._kept = self._kept, deque()
        for _, step in kept:
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
