"""What the log holds, told in the plainest way, and how the machine writes to the real one."""

import uuid
from dataclasses import dataclass, field

import msgspec
from django.db import connection

from notifications.log.append import append
from notifications.log.identity import log_identity
from notifications.log.records import Appended, Publication, Record
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

PARTITIONS = 3
TOPICS = ("a.b", "a.b.x", "a.b.y.z", "c.d", "c.d.x", "a.c")
"""Three groups: a.b in partition 1, c.d in 0, a.c in 2."""

PATTERNS = ("a.b", "a.b.x", "a.b.*", "a.b.**", "a.*", "a.**", "c.d", "c.d.*", "c.**", "*.*.x", "**")

Position = tuple[int, int]
Offsets = dict[int, int]

LONG_AGO = 1_000_000_000_000
"""An instant in milliseconds at which a message has expired."""


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
    has_expired: bool

    @property
    def partition(self) -> int:
        return self.position[0]

    @property
    def offset(self) -> int:
        return self.position[1]


@dataclass
class LogModel:
    """The log as it must be. floors: by topic, the last message that was purged unexpired."""

    epoch: str
    messages: list[Told] = field(default_factory=list)
    by_position: dict[Position, Told] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    purges: int = 0
    """How often something was purged."""
    _gone: set[Position] = field(default_factory=set)
    rows_to_go: list[Told] = field(default_factory=list)
    keyed: list[tuple[Publication, Told]] = field(default_factory=list)

    def heads(self) -> Offsets:
        """Return the newest offset of each partition."""
        heads = dict.fromkeys(range(PARTITIONS), 0)
        for message in self.messages:
            heads[message.partition] = message.offset
        return heads

    def is_purged(self, message: Told) -> bool:
        """Tell whether the log need not have a message any more."""
        return message.position in self._gone

    # --- Publishing -----------------------------------------------------------------------------

    def publish(self, topics: list[str], *, has_expired: bool, keyed: bool) -> list[Record]:
        """Append messages in one transaction; return what is to be relayed."""
        batch: list[Publication] = []
        for topic in topics:
            number = len(self.messages) + len(batch)
            batch.append(
                publication(
                    topic,
                    number,
                    partitions=PARTITIONS,
                    publisher="system",
                    expires_at=LONG_AGO if has_expired else 0,
                    idempotency_key=f"key {number}" if keyed else None,
                    digest=b"digest %d" % number if keyed else b"",
                )
            )
        outcomes, records = append(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, Appended)
            assert not outcome.duplicate
            self._note(one, outcome, has_expired=has_expired)
        return records

    def _note(self, one: Publication, outcome: Appended, *, has_expired: bool) -> None:
        position = (outcome.partition, outcome.offset)
        told = Told(
            outcome.id,
            outcome.topic,
            outcome.seq,
            position,
            msgspec.json.decode(one.payload),
            has_expired,
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

    def purge(self, topic: str, count: int) -> None:
        """Move the floors over the oldest messages of a topic; their rows go with `sweep`."""
        kept = [m for m in self.messages if m.topic == topic and not self.is_purged(m)]
        leaving = kept[:count]
        if not leaving:
            return
        self.purges += 1
        self._gone.update(message.position for message in leaving)
        self.rows_to_go += leaving
        row = Topic.objects.get(name=topic)
        row.purged_seq = leaving[-1].seq
        unexpired = [message.offset for message in leaving if not message.has_expired]
        if unexpired:
            row.floor = self.floors[topic] = unexpired[-1]
            Partition.objects.filter(pk=row.partition_id, floor__lt=row.floor).update(
                floor=row.floor
            )
        row.save()

    def sweep(self) -> None:
        """Delete the rows of what was purged."""
        Message.objects.filter(pk__in=[uuid.UUID(m.id) for m in self.rows_to_go]).delete()
        self.rows_to_go.clear()


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
