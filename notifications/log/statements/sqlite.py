"""Appending on SQLite: a statement is prepared once and runs for each row, inside the process."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.utils.timezone import make_aware

from notifications.log.records import to_datetime, to_ms
from notifications.log.statements.rows import KnownKey, Place, Row, places

_READ_HEADS = "SELECT id, head FROM notifications_partition WHERE id IN ({marks})"

_TAKE_PENDING = "DELETE FROM notifications_pendingpublication WHERE id IN ({marks}) RETURNING id"

_ADVANCE_TOPICS = """
INSERT INTO notifications_topic (name, partition_id, seq, created_at, last_published_at)
VALUES {rows}
ON CONFLICT (name) DO UPDATE SET
    seq = notifications_topic.seq + excluded.seq,
    last_published_at = excluded.last_published_at
RETURNING name, id, seq
"""

_MOVE_HEAD = "UPDATE notifications_partition SET head = %s WHERE id = %s"

_KNOWN_KEYS = """
SELECT publisher, key, digest, message_id, topic, seq, partition, "offset", published_at
FROM notifications_idempotencykey WHERE (publisher, key) IN (VALUES {rows})
"""

_INSERT_MESSAGES = """
INSERT INTO notifications_message (
    id, partition_id, "offset", topic_id, seq, payload, metadata, publisher, published_at,
    expires_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

_INSERT_KEYS = """
INSERT INTO notifications_idempotencykey (
    publisher, key, digest, message_id, topic, seq, partition, "offset", published_at, expires_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class SqliteStatements:
    """The statements of the log for SQLite; see Statements.

    Its transactions begin with the lock on the whole database, so there is none to take here.
    """

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction."""
        with transaction.atomic(durable=True):
            yield

    def known_keys(self, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownKey]:
        """Look the pairs up."""
        rows = ", ".join(["(%s, %s)"] * len(identities))
        with connection.cursor() as cursor:
            cursor.execute(
                _KNOWN_KEYS.format(rows=rows), [text for pair in identities for text in pair]
            )
            return {
                (row[0], row[1]): KnownKey(
                    bytes(row[2]),
                    _dashed(row[3]),
                    row[4],
                    row[5],
                    row[6],
                    row[7],
                    to_ms(make_aware(row[8], connection.timezone)),
                )
                for row in cursor.fetchall()
            }

    def write(
        self, rows: Sequence[Row], *, published_at: int, before_commit: Callable[[], None]
    ) -> list[Place | None]:
        """Write them table by table."""
        carried = {row.outbox_id for row in rows if row.outbox_id is not None}
        taken = self.take_pending(carried) if carried else set()
        fresh = [row for row in rows if row.outbox_id is None or row.outbox_id in taken]
        heads = _heads({row.partition for row in fresh})
        counts = Counter(row.topic for row in fresh)
        topics = _advance({row.topic: row.partition for row in fresh}, counts, now=published_at)
        seqs = {name: seq - counts[name] for name, (_, seq) in topics.items()}
        found = places(rows, taken=taken, heads=heads, seqs=seqs)
        written = [
            (row, place) for row, place in zip(rows, found, strict=True) if place is not None
        ]
        moment = _instant(published_at)
        _execute_many(
            _INSERT_MESSAGES,
            [
                (
                    row.id.replace("-", ""),
                    row.partition,
                    at.offset,
                    topics[row.topic][0],
                    at.seq,
                    row.payload,
                    row.metadata,
                    row.publisher,
                    moment,
                    _instant(row.expires_at),
                )
                for row, at in written
            ],
        )
        _execute_many(
            _INSERT_KEYS,
            [
                (
                    row.publisher,
                    row.key,
                    row.digest,
                    row.id.replace("-", ""),
                    row.topic,
                    at.seq,
                    row.partition,
                    at.offset,
                    moment,
                    _instant(row.key_expires_at),
                )
                for row, at in written
                if row.key is not None
            ],
        )
        heads.update((row.partition, at.offset) for row, at in written)  # ascending
        _execute_many(_MOVE_HEAD, [(head, partition) for partition, head in heads.items()])
        before_commit()
        return found

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete the outbox rows."""
        wanted = list(ids)
        return {pk for (pk,) in _execute(_TAKE_PENDING.format(marks=_marks(wanted)), wanted)}


def _heads(partitions: Iterable[int]) -> dict[int, int]:
    wanted = list(partitions)
    return dict(_execute(_READ_HEADS.format(marks=_marks(wanted)), wanted))


def _advance(
    topics: Mapping[str, int], counts: Mapping[str, int], *, now: int
) -> dict[str, tuple[int, int]]:
    """Advance topics' seqs, make those that do not exist; return their ids and newest seqs."""
    if not topics:
        return {}
    moment = _instant(now)
    values: list[Any] = []
    for name, partition in topics.items():
        values += [name, partition, counts[name], moment, moment]
    rows = ", ".join(["(%s, %s, %s, %s, %s)"] * len(topics))
    return {
        name: (pk, seq) for name, pk, seq in _execute(_ADVANCE_TOPICS.format(rows=rows), values)
    }


def _execute(statement: str, values: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _execute_many(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def _marks(values: Sequence[int]) -> str:
    return ", ".join(["%s"] * len(values))


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _instant(milliseconds: int) -> str | None:
    """Write an instant as the ORM does, for it compares them as text; None for 0."""
    if not milliseconds:
        return None
    return str(connection.ops.adapt_datetimefield_value(to_datetime(milliseconds)))
