"""What the log holds, told in the plainest way, and how the machine writes to the real one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

import msgspec
from django.db import connection

from notifications.hub import purged as purged_module
from notifications.log import purge as purge_module
from notifications.log.append import append
from notifications.log.identity import log_identity
from notifications.log.purge import purge, purge_expired, stored_up_to
from notifications.log.records import Appended, Publication, Record, to_datetime
from notifications.models import (
    IdempotencyKey,
    Log,
    Message,
    Partition,
    Server,
    Session,
    Subscription,
    Topic,
)
from notifications.services.policies import policies
from tests.records import publication
from tests.recovery.machine.world import World

PARTITIONS = 3
TOPICS = ("a.b", "a.b.x", "a.b.y.z", "c.d", "c.d.x", "a.c")
"""Three groups: a.b in partition 1, c.d in 0, a.c in 2."""

PATTERNS = ("a.b", "a.b.x", "a.b.*", "a.b.**", "a.*", "a.**", "c.d", "c.d.*", "c.**", "*.*.x", "**")

Position = tuple[int, int]
Offsets = dict[int, int]

LONG_AGO = -1
"""The lifetime of a message that is published when it has expired already."""


class DiedError(Exception):
    """A purge ended in its middle."""


def fits(pattern: str, topic: str) -> bool:
    """Tell whether a pattern matches a topic, by the contract's words."""
    wanted, found = pattern.split("."), topic.split(".")
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(
        one in ("*", other) for one, other in zip(wanted, found, strict=True)
    )


@dataclass(frozen=True)
class Told:
    """A message as it was answered to its publisher."""

    id: str
    topic: str
    seq: int
    position: Position
    payload: int
    expires_at: int
    """Milliseconds since 1970; 0 for never."""

    @property
    def has_expired(self) -> bool:
        """Whether nobody may be given it any more. Who has not had it by now is owed nothing."""
        return 0 < self.expires_at <= World.current.now_ms

    @property
    def partition(self) -> int:
        return self.position[0]

    @property
    def offset(self) -> int:
        return self.position[1]


@dataclass
class LogModel:
    """The log as it must be."""

    epoch: str
    messages: list[Told] = field(default_factory=list)
    by_position: dict[Position, Told] = field(default_factory=dict)
    purged_at: list[float] = field(default_factory=list)
    """When something was purged, by the clock of the loop."""
    _gone: set[Position] = field(default_factory=set)
    _lost: set[Position] = field(default_factory=set)
    rows_to_go: dict[str, int] = field(default_factory=dict)
    """Up to which seq purges that died have left rows, by topic."""
    keyed: list[tuple[Publication, Told]] = field(default_factory=list)

    def heads(self) -> Offsets:
        """Return the newest offset of each partition."""
        heads = dict.fromkeys(range(PARTITIONS), 0)
        for message in self.messages:
            heads[message.partition] = message.offset
        return heads

    @property
    def purges(self) -> int:
        """How often something was purged."""
        return len(self.purged_at)

    def known_purges(self) -> int:
        """Return how many purges a server must know of that looks at the log now."""
        fresh = World.current.loop.now - purged_module.FRESH
        return sum(1 for at in self.purged_at if at < fresh)

    def is_lost(self, message: Told) -> bool:
        """Tell whether a message was purged before it expired."""
        return message.position in self._lost

    def is_purged(self, message: Told) -> bool:
        """Tell whether the log need not have a message any more."""
        return message.position in self._gone

    # --- Publishing -----------------------------------------------------------------------------

    def publish(self, topics: Sequence[str], *, lifetime: int, keyed: bool) -> list[Record]:
        """Append messages in one transaction; return what is to be relayed.

        lifetime: seconds; 0 for ever.
        """
        batch: list[Publication] = []
        expires_at = World.current.now_ms + lifetime * 1000 if lifetime else 0
        for topic in topics:
            number = len(self.messages) + len(batch)
            batch.append(
                publication(
                    topic,
                    number,
                    partitions=PARTITIONS,
                    publisher="system",
                    expires_at=expires_at,
                    idempotency_key=f"key {number}" if keyed else None,
                    digest=b"digest %d" % number if keyed else b"",
                )
            )
        outcomes, records = append(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, Appended)
            assert not outcome.duplicate
            self._note(one, outcome)
        return records

    def _note(self, one: Publication, outcome: Appended) -> None:
        position = (outcome.partition, outcome.offset)
        told = Told(
            outcome.id,
            outcome.topic,
            outcome.seq,
            position,
            msgspec.json.decode(one.payload),
            one.expires_at,
        )
        assert outcome.offset == self.heads()[outcome.partition] + 1, "an offset was left out"
        assert outcome.seq == 1 + sum(1 for other in self.messages if other.topic == told.topic)
        self.messages.append(told)
        self.by_position[position] = told
        if one.idempotency_key is not None:
            self.keyed.append((one, told))

    def retry(self, index: int) -> list[Record]:
        """Publish once more what was published under a key; return what is to be relayed."""
        if not self.keyed:
            return []
        one, told = self.keyed[index % len(self.keyed)]
        (outcome,), records = append([one])
        assert isinstance(outcome, Appended)
        assert outcome.duplicate
        assert (outcome.id, outcome.seq) == (told.id, told.seq)
        assert (outcome.partition, outcome.offset) == told.position
        return records

    # --- Purging --------------------------------------------------------------------------------

    def purge(self, topic: str, count: int, *, dies: bool) -> None:
        """Have the oldest messages of a topic purged.

        dies: it ends after the floors, before the rows; `sweep` finds these.
        """
        kept = [m for m in self.messages if m.topic == topic and not self.is_purged(m)]
        leaving = kept[:count]
        if not leaving:
            return
        self.purged_at.append(World.current.loop.now)
        self._gone.update(message.position for message in leaving)
        self._lost.update(one.position for one in leaving if not one.has_expired)
        if dies:
            with patch.object(purge_module, "_delete", side_effect=DiedError):
                try:
                    self._purge(topic, leaving[-1].seq)
                except DiedError:
                    self.rows_to_go[topic] = leaving[-1].seq
        else:
            self._purge(topic, leaving[-1].seq)

    @staticmethod
    def _purge(topic: str, seq: int) -> None:
        row = Topic.objects.get(name=topic)
        stored = stored_up_to(row.pk, seq, after=row.purged_seq)
        purge(stored, now=to_datetime(World.current.now_ms))

    def sweep(self) -> None:
        """Purge what is left by purges that died."""
        for topic, seq in self.rows_to_go.items():
            self._purge(topic, seq)
        self.rows_to_go.clear()

    @staticmethod
    def sweep_expired() -> None:
        """Delete what has expired."""
        for _ in purge_expired(now=to_datetime(World.current.now_ms)):
            pass


def empty_log(epoch: str) -> LogModel:
    """Begin a new log of few partitions in the test's database."""
    for model in (Message, Topic, IdempotencyKey, Session, Subscription, Server):
        model._base_manager.all()._raw_delete("default")
    Log.objects.update(epoch=epoch, partition_count=PARTITIONS)
    Partition.objects.filter(pk__gte=PARTITIONS).delete()
    Partition.objects.update(head=0, floor=0, tracked=0)
    log_identity.cache_clear()
    policies.refresh(max_age=0)
    assert connection.in_atomic_block is False
    return LogModel(epoch)
