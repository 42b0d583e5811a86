"""Purge: take messages out of the log, and leave word of it where somebody may miss them.

A batch, of one partition, is three short steps: the floors are moved, the rows are deleted, then it
is noted up to where all of a topic is gone. The first and the last lock the partition; the
deletion, which takes longest, locks nobody out. Whoever reads in between finds rows below a floor,
which is true: they may be gone at any moment. A crash in between leaves rows that the next run
finds again.

Expired messages are deleted without a word, because nobody can miss what may not be delivered.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import OuterRef, QuerySet, Subquery

from notifications.log.records import to_ms
from notifications.models import Message, Topic

BATCH = 500
"""Rows of a batch: their floors are moved under one lock."""

EXPIRED_BATCH = 1_000
"""Expired rows that one statement deletes."""

_SIZE = {"postgresql": "octet_length(payload)", "sqlite": "length(CAST(payload AS BLOB))"}

_OVER_BYTES = """
SELECT max(seq) FROM (
    SELECT seq, sum({size}) OVER (ORDER BY seq DESC) AS total
    FROM notifications_message WHERE topic_id = %s AND seq > %s
) AS newest WHERE total > %s
"""

_LOCK = """
UPDATE notifications_partition SET floor = CASE WHEN floor < %s THEN %s ELSE floor END
WHERE id = %s
"""

_RAISE = """
UPDATE notifications_{table} SET {column} = least_values.column2
FROM (VALUES {rows}) AS least_values
WHERE id = least_values.column1 AND {column} < least_values.column2
"""


class Stored(NamedTuple):
    """What purging needs to know of a message."""

    id: UUID
    topic_id: int
    topic: str
    partition: int
    offset: int
    seq: int
    expires_at: datetime | None


def first_id_at(milliseconds: int) -> UUID:
    """Return the smallest id that a message of this instant (ms since 1970) can have."""
    return UUID(int=(max(milliseconds, 0) & 0xFFFF_FFFF_FFFF) << 80)


def instant_of(message_id: UUID) -> int:
    """Return the instant in a message's id, in milliseconds since 1970."""
    return message_id.int >> 80


def stored_between(start: UUID, end: UUID, *, limit: int) -> list[Stored]:
    """Read messages with start <= id < end, in the order of their ids, which is that of time."""
    return _stored(Message.objects.filter(pk__gte=start, pk__lt=end).order_by("pk"), limit)


def stored_up_to(topic_id: int, seq: int, *, after: int, limit: int = BATCH) -> list[Stored]:
    """Read the messages of a topic with after < their seq <= seq, oldest first."""
    rows = Message.objects.filter(topic_id=topic_id, seq__gt=after, seq__lte=seq).order_by("seq")
    return _stored(rows, limit)


def over_bytes(topic_id: int, most: int, *, after: int) -> int:
    """Return the seq up to which a topic is to be purged so that `most` payload bytes are left.

    after: the topic's purged_seq. 0 when nothing is too much.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OVER_BYTES.format(size=_SIZE[connection.vendor]), [topic_id, after, most])
        (seq,) = cursor.fetchone()
        return seq or 0


def purge(rows: Sequence[Stored], *, now: datetime) -> int:
    """Take messages out of the log, by batches of a partition; return how many there were.

    What has not expired by `now` moves the floors. Must not run inside a transaction.
    """
    purged = 0
    for partition in sorted({row.partition for row in rows}):
        of_partition = [row for row in rows if row.partition == partition]
        for start in range(0, len(of_partition), BATCH):
            batch = of_partition[start : start + BATCH]
            _move_floors(
                partition, [row for row in batch if row.expires_at is None or row.expires_at > now]
            )
            purged += _delete([row.id for row in batch])
            _note_gone(partition, {row.topic_id for row in batch})
    return purged


def purge_expired(*, now: datetime) -> Iterator[int]:
    """Delete expired messages; yield after each batch how many it deleted."""
    expired = Message.objects.filter(expires_at__lt=now).order_by("expires_at")
    while ids := list(expired.values_list("pk", flat=True)[:EXPIRED_BATCH]):
        yield _delete(ids)


def note_purged(topic_id: int, partition: int, seq: int) -> None:
    """Note that no message of a topic is left up to a seq."""
    with _step(), connection.cursor() as cursor:
        _lock(cursor, partition)
        _raise(cursor, "topic", "purged_seq", {topic_id: seq})


def _stored(rows: QuerySet[Message], limit: int) -> list[Stored]:
    fields = ("pk", "topic_id", "topic__name", "partition_id", "offset", "seq", "expires_at")
    return [Stored(*row) for row in rows.values_list(*fields)[:limit]]


@contextmanager
def _step() -> Iterator[None]:
    """A transaction that does not wait for the disk, so that its locks are short.

    The steps reach the disk in their order; those that a crash undoes are done again.
    """
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")
        yield


def _lock(cursor: CursorWrapper, partition: int, *, floor: int = 0) -> None:
    # As append does: topics are locked behind their partition only. An update of the row is its
    # lock, without the way to the database and back that a SELECT FOR UPDATE would add to it.
    cursor.execute(_LOCK, [floor, floor, partition])


def _move_floors(partition: int, missed: Sequence[Stored]) -> None:
    if not missed:
        return
    floors: dict[int, int] = {}
    for row in missed:
        floors[row.topic_id] = max(floors.get(row.topic_id, 0), row.offset)
    with _step(), connection.cursor() as cursor:
        _lock(cursor, partition, floor=max(floors.values()))
        _raise(cursor, "topic", "floor", floors)


def _note_gone(partition: int, topics: set[int]) -> None:
    """Note up to where all messages of some topics are gone, looking at what is left."""
    # Not "the newest that was purged": clocks of hosts differ, so the order of ids is not quite
    # that of seq, and a policy's change may have left older ones. One statement without a lock
    # will do, for what is appended meanwhile has a seq above what it sees.
    left = Message.objects.filter(topic=OuterRef("pk"), seq__gt=OuterRef("purged_seq"))
    oldest = Subquery(left.order_by("seq").values("seq")[:1])
    found = Topic.objects.filter(pk__in=topics).annotate(oldest=oldest).order_by()
    gone = {pk: (left or seq + 1) - 1 for pk, seq, left in found.values_list("pk", "seq", "oldest")}
    with _step(), connection.cursor() as cursor:
        _lock(cursor, partition)
        _raise(cursor, "topic", "purged_seq", gone)


def _raise(cursor: CursorWrapper, table: str, column: str, values: Mapping[int, int]) -> None:
    rows = ", ".join(["(%s, %s)"] * len(values))
    statement = _RAISE.format(table=table, column=column, rows=rows)
    cursor.execute(statement, [number for pair in values.items() for number in pair])


def _delete(ids: Sequence[UUID]) -> int:
    with _step():
        return Message.objects.filter(pk__in=ids).delete()[0]


def cutoff_ms(now: datetime, seconds: float) -> int:
    """Return the instant that lies so many seconds back, in milliseconds since 1970."""
    return to_ms(now) - int(seconds * 1000)
