"""Read the log by position.

Whoever reads a range has to know whether something of it was purged meanwhile: a purge moves the
floor before it deletes, so every reading of rows is followed by one of the floor.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, QuerySet

from notifications.log.patterns import topics_in, topics_matching
from notifications.log.records import Record, is_urgent, to_ms
from notifications.models import Message, Partition, Topic

CHUNK = 500
"""Messages that one read brings at most."""

TOPICS_BOUND = 1_000
"""Topics that are read one by one; what concerns more of them is read in the partition's order."""

_STATE = """
SELECT p.head, p.floor, l.epoch
FROM notifications_partition p CROSS JOIN notifications_log l ORDER BY p.id
"""


class LogState(NamedTuple):
    """The log as it was at one moment: heads and floors by partition."""

    epoch: str
    heads: tuple[int, ...]
    floors: tuple[int, ...]


class Reading(NamedTuple):
    """Messages of a partition in offset order, and its floor after they were read."""

    records: list[Record]
    floor: int


def read_state() -> LogState:
    """Read the epoch, the heads and the floors; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        rows = cursor.fetchall()
    heads, floors, epochs = zip(*rows, strict=True)
    return LogState(epochs[0], heads, floors)


def read_range(partition: int, after: int, through: int, *, limit: int = CHUNK) -> Reading:
    """Read the messages of a partition after one offset through another, oldest first."""
    rows = Message.objects.filter(
        partition_id=partition, offset__gt=after, offset__lte=through
    ).order_by("offset")[:limit]
    return Reading(_records(partition, rows), _floor(partition))


def read_hole(partition: int, after: int, through: int) -> tuple[Reading, int]:
    """The same, for whoever was told by others how far the log is; return also how far it is (at
    most `through`)."""
    # Before the rows: what is appended meanwhile must not be taken for purged.
    head = Partition.objects.values_list("head", flat=True).get(pk=partition)
    end = min(through, head)
    return read_range(partition, after, end), end


def read_of_topics(
    partition: int, topics: Sequence[int], after: int, through: int, *, limit: int = CHUNK
) -> Reading:
    """The same, of a few topics (ids of their rows) only.

    Each read sorts all that is left of them. Of many, read headlines first, then `read_at`.
    """
    # Without the partition, so that nothing but the index on topics and offsets can serve it.
    rows = Message.objects.filter(
        topic_id__in=topics, offset__gt=after, offset__lte=through
    ).order_by("offset")[:limit]
    return Reading(_records(partition, rows), _floor(partition))


def read_at(partition: int, offsets: Sequence[int]) -> Reading:
    """Read the messages at some offsets, as far as they are still there, oldest first."""
    rows = Message.objects.filter(partition_id=partition, offset__in=offsets).order_by("offset")
    return Reading(_records(partition, rows), _floor(partition))


def find_topics(partition: int, patterns: Collection[str]) -> list[int] | None:
    """Return the ids of the topics in a partition that match patterns; None for too many."""
    found = list(
        Topic.objects.filter(topics_in(partition, patterns))
        .order_by()
        .values_list("pk", flat=True)[: TOPICS_BOUND + 1]
    )
    return found if len(found) <= TOPICS_BOUND else None


def read_purged(
    partition: int, after: int, patterns: Collection[str] | None = None, *, limit: int = 101
) -> list[tuple[str, int]]:
    """Return (topic, floor) where something after an offset was purged before it expired.

    patterns: only topics that match one of them; None for all.
    """
    topics = Topic.objects.filter(partition_id=partition, floor__gt=after)
    if patterns is not None:
        topics = topics.filter(topics_matching(patterns, field="name"))
    return list(topics.values_list("name", "floor")[:limit])


def _floor(partition: int) -> int:
    return Partition.objects.values_list("floor", flat=True).get(pk=partition)


def _records(partition: int, rows: QuerySet[Message]) -> list[Record]:
    columns: Any = rows.annotate(name=F("topic__name")).values_list(
        "offset", "id", "name", "seq", "published_at", "payload", "metadata", "expires_at"
    )
    return [
        Record(
            partition,
            offset,
            str(pk),
            name,
            seq,
            to_ms(published_at),
            payload.encode(),
            metadata.encode(),
            to_ms(expires_at) if expires_at else 0,
            is_urgent(metadata.encode()),
        )
        for offset, pk, name, seq, published_at, payload, metadata, expires_at in columns
    ]
