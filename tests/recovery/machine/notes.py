"""What a client notes of its subscriptions and its connections."""

from dataclasses import dataclass, field
from typing import Any

from tests.delivery.cursors import offsets_of
from tests.recovery.machine.model import PARTITIONS, LogModel, Offsets, Position, Told, fits
from tests.recovery.machine.servers import Frame, Socket
from tests.recovery.machine.world import World

NOWHERE = dict.fromkeys(range(PARTITIONS), 2**60)
"""The beginning of what is not owed."""

ANYWHERE = dict.fromkeys(range(PARTITIONS), 0)


@dataclass
class Held:
    """A subscription.

    owed: where it surely begins. possible: where it begins at the earliest. known: whether the
    client was told that it exists; otherwise a reply is outstanding, or was lost.
    """

    pattern: str
    owed: Offsets
    possible: Offsets
    id: str = ""
    known: bool = True
    before: Offsets | None = None
    """What was owed before an `unsubscribe` was asked for."""

    def owes(self, message: Told) -> bool:
        return message.offset > self.owed[message.partition] and fits(self.pattern, message.topic)

    def may_bring(self, message: Told) -> bool:
        return message.offset > self.possible[message.partition] and fits(
            self.pattern, message.topic
        )


@dataclass
class Asked:
    """A subscribe with `since` that is being answered."""

    pattern: str
    since: Frame
    purges: int
    at: int
    """When it was asked for, in milliseconds."""
    place: Offsets | None = None
    got: list[Position] = field(default_factory=list)

    def expected(
        self, log: LogModel, cursor: Offsets
    ) -> tuple[Offsets, list[Told], set[Position]] | None:
        """Return where the replay begins, what it brings for sure, and what it may bring; None
        where that cannot be told."""
        within = [
            message
            for message in log.messages
            if message.offset <= cursor[message.partition]
            and fits(self.pattern, message.topic)
            and not 0 < message.expires_at <= self.at
        ]
        if "last" not in self.since:
            begin = ANYWHERE | offsets_of(self.since)
            asked = [one for one in within if one.offset > begin[one.partition]]
            places = {one.position for one in asked}
            return begin, [one for one in asked if not one.has_expired], places
        if self.purges != log.purges or self.at != World.current.now_ms:
            return None  # which were the newest depends on when they were looked for
        wanted = [one for one in within if not log.is_purged(one)][-self.since["last"] :]
        begin = dict(cursor)
        for message in wanted:
            begin[message.partition] = min(begin[message.partition], message.offset - 1)
        return begin, wanted, {one.position for one in wanted}


@dataclass
class Line:
    """One connection, as the client sees it."""

    number: int
    resume: Frame | None
    is_garbage: bool
    purges: int
    socket: Socket = field(init=False)
    ready: bool = False
    """auth_success has come."""
    replaying: bool = False
    """What the client missed is being sent."""
    sent: Offsets = field(default_factory=dict)
    """The last position of the stream, by partition."""
    settled: Offsets = field(default_factory=dict)
    """Nothing at or before these is still to come."""
    waiting: dict[int, Any] = field(default_factory=dict)
    """Requests without a reply."""
    asked: Asked | None = None
    successor: "Line | None" = None
    """The connection that took this one over."""
