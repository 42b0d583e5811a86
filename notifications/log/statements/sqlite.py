"""Appending on SQLite: a statement is prepared once and runs for each row, inside the process."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from django.db import connection
from django.utils.timezone import make_aware

from notifications.log.records import to_datetime, to_ms
from notifications.log.statements.rows import KeyRow, KnownKey, MessageRow, TopicRow

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
    def together(self) -> Iterator[None]:
        """Do nothing: no statement leaves the process."""
        yield

    def lock_heads(self, partitions: Sequence[int]) -> Callable[[], dict[int, int]]:
        """Read the heads."""
        with connection.cursor() as cursor:
            cursor.execute(_READ_HEADS.format(marks=_marks(partitions)), list(partitions))
            heads = dict(cursor.fetchall())
        return lambda: heads

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete the outbox rows."""
        wanted = list(ids)
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_PENDING.format(marks=_marks(wanted)), wanted)
            return {pk for (pk,) in cursor.fetchall()}

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

    def advance_topics(
        self, rows: Sequence[TopicRow], *, now: int
    ) -> Callable[[], dict[str, tuple[int, int]]]:
        """Upsert the topics."""
        moment = _instant(now)
        values: list[str | int | None] = []
        for row in rows:
            values += [*row, moment, moment]
        marks = ", ".join(["(%s, %s, %s, %s, %s)"] * len(rows))
        with connection.cursor() as cursor:
            cursor.execute(_ADVANCE_TOPICS.format(rows=marks), values)
            topics = {name: (pk, seq) for name, pk, seq in cursor.fetchall()}
        return lambda: topics

    def insert_messages(self, rows: Sequence[MessageRow], *, published_at: int) -> None:
        """Insert them one by one."""
        moment = _instant(published_at)
        with connection.cursor() as cursor:
            cursor.executemany(
                _INSERT_MESSAGES,
                [
                    (row.id.replace("-", ""), *row[1:-1], moment, _instant(row.expires_at))
                    for row in rows
                ],
            )

    def insert_keys(self, rows: Sequence[KeyRow], *, published_at: int) -> None:
        """Insert them one by one."""
        moment = _instant(published_at)
        with connection.cursor() as cursor:
            cursor.executemany(
                _INSERT_KEYS,
                [
                    (
                        *row[:3],
                        row.message_id.replace("-", ""),
                        *row[4:-1],
                        moment,
                        _instant(row.expires_at),
                    )
                    for row in rows
                ],
            )

    def move_heads(self, heads: Mapping[int, int]) -> None:
        """Update the rows one by one."""
        with connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE notifications_partition SET head = %s WHERE id = %s",
                [(head, partition) for partition, head in heads.items()],
            )


def _marks(values: Sequence[int]) -> str:
    return ", ".join(["%s"] * len(values))


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _instant(milliseconds: int) -> str | None:
    """Write an instant as the ORM does, for it compares them as text; None for 0."""
    if not milliseconds:
        return None
    return str(connection.ops.adapt_datetimefield_value(to_datetime(milliseconds)))
