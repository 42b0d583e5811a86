"""Appending on PostgreSQL: a statement for each table whatever the number of rows, pipelined.

Rows go in as arrays, one for each column, that the server makes rows of: the same few statements
whatever the number of rows, so they are prepared. COPY would be a little faster for large groups,
but cannot be pipelined, and small groups, whose cost is their round trips, are the common case.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.db import DataError, connection

from notifications.log.records import to_datetime, to_ms
from notifications.log.statements.rows import KeyRow, KnownKey, MessageRow, TopicRow

_NEVER: Final = 1_000_000_000
"""Uses of a statement after which it would be prepared unasked."""

_LOCK_HEADS = """
SELECT id, head FROM notifications_partition WHERE id = ANY(%s::smallint[]) ORDER BY id FOR UPDATE
"""

_TAKE_PENDING = """
WITH ours AS (
    SELECT id FROM notifications_pendingpublication
    WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE
)
DELETE FROM notifications_pendingpublication AS row USING ours WHERE row.id = ours.id
RETURNING row.id
"""

_KNOWN_KEYS = """
SELECT publisher, key, digest, message_id, topic, seq, partition, "offset", published_at
FROM notifications_idempotencykey
WHERE (publisher, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""

_ADVANCE_TOPICS = """
INSERT INTO notifications_topic (name, partition_id, seq, created_at, last_published_at)
SELECT name, partition, messages, moment, moment
FROM unnest(%s::text[], %s::smallint[], %s::bigint[]) AS fresh (name, partition, messages),
    (SELECT %s::timestamptz) AS now (moment)
ON CONFLICT (name) DO UPDATE SET
    seq = notifications_topic.seq + excluded.seq,
    last_published_at = excluded.last_published_at
RETURNING name, id, seq
"""

_INSERT_MESSAGES = """
INSERT INTO notifications_message (
    id, partition_id, "offset", topic_id, seq, payload, metadata, publisher, expires_at,
    published_at
)
SELECT *, %s::timestamptz FROM unnest(
    %s::uuid[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],
    %s::text[], %s::timestamptz[]
)
"""

_INSERT_KEYS = """
INSERT INTO notifications_idempotencykey (
    publisher, key, digest, message_id, topic, seq, partition, "offset", expires_at, published_at
)
SELECT *, %s::timestamptz FROM unnest(
    %s::text[], %s::text[], %s::bytea[], %s::uuid[], %s::text[], %s::bigint[], %s::smallint[],
    %s::bigint[], %s::timestamptz[]
)
"""

_MOVE_HEADS = """
UPDATE notifications_partition AS row SET head = moved.head
FROM unnest(%s::smallint[], %s::bigint[]) AS moved (id, head) WHERE row.id = moved.id
"""


class PostgresStatements:
    """The statements of the log for PostgreSQL; see Statements."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send statements without waiting for the answers of those before."""
        connection.ensure_connection()
        # Django's connections prepare nothing; these prepare what asks for it, and nothing else.
        connection.connection.prepare_threshold = _NEVER
        with connection.wrap_database_errors, connection.connection.pipeline():
            yield

    def lock_heads(self, partitions: Sequence[int]) -> Callable[[], dict[int, int]]:
        """Lock the partitions' rows in their order."""
        cursor = _sent(_LOCK_HEADS, _plain(partitions))
        return lambda: dict(cursor.fetchall())

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete the outbox rows in the order of their ids."""
        return {pk for (pk,) in _sent(_TAKE_PENDING, _plain(ids)).fetchall()}

    def known_keys(self, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownKey]:
        """Look the pairs up."""
        publishers, keys = zip(*identities, strict=True)
        return {
            (row[0], row[1]): KnownKey(
                bytes(row[2]), str(row[3]), row[4], row[5], row[6], row[7], to_ms(row[8])
            )
            for row in _sent(_KNOWN_KEYS, _texts(publishers), _texts(keys)).fetchall()
        }

    def advance_topics(
        self, rows: Sequence[TopicRow], *, now: int
    ) -> Callable[[], dict[str, tuple[int, int]]]:
        """Upsert the topics in their order."""
        names, partitions, messages = zip(*rows, strict=True)
        cursor = _sent(
            _ADVANCE_TOPICS, _texts(names), _plain(partitions), _plain(messages), _instant(now)
        )
        return lambda: {name: (pk, seq) for name, pk, seq in cursor.fetchall()}

    def insert_messages(self, rows: Sequence[MessageRow], *, published_at: int) -> None:
        """Insert them with one statement."""
        ids, partitions, offsets, topics, seqs, payloads, metadata, publishers, expiries = zip(
            *rows, strict=True
        )
        _sent(
            _INSERT_MESSAGES,
            _instant(published_at),
            f"{{{','.join(ids)}}}",
            _plain(partitions),
            _plain(offsets),
            _plain(topics),
            _plain(seqs),
            _texts(payloads),
            _texts(metadata),
            _texts(publishers),
            _instants(expiries),
        )

    def insert_keys(self, rows: Sequence[KeyRow], *, published_at: int) -> None:
        """Insert them with one statement, in their order."""
        publishers, keys, digests, ids, topics, seqs, partitions, offsets, expiries = zip(
            *rows, strict=True
        )
        _sent(
            _INSERT_KEYS,
            _instant(published_at),
            _texts(publishers),
            _texts(keys),
            _texts([f"\\x{digest.hex()}" for digest in digests]),
            f"{{{','.join(ids)}}}",
            _texts(topics),
            _plain(seqs),
            _plain(partitions),
            _plain(offsets),
            _instants(expiries),
        )

    def move_heads(self, heads: Mapping[int, int]) -> None:
        """Update the locked rows."""
        _sent(_MOVE_HEADS, _plain(heads), _plain(heads.values()))


def _sent(statement: str, *values: str) -> Any:
    """Send a statement; return the cursor that has its answer."""
    if connection.queries_logged or connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        # Django's cursor is the one that logs. And where a pooler gives each transaction another
        # connection, which that setting says, nothing may be prepared.
        cursor = connection.cursor()
        cursor.execute(statement, values)
        return cursor
    return psycopg.Cursor(connection.connection).execute(statement, values, prepare=True)


# Array literals as section 8.15.2 of PostgreSQL's manual has them. psycopg makes them too, at ten
# times the cost: it looks at each element's type.


def _plain(numbers: Iterable[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


def _texts(texts: Sequence[str]) -> str:
    # All at once, with NUL between them, which no text holds that PostgreSQL stores.
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        raise DataError("PostgreSQL stores no text with a NUL in it")
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return f'{{"{escaped}"}}'


def _instant(milliseconds: int) -> str:
    return to_datetime(milliseconds).isoformat()


def _instants(instants: Iterable[int]) -> str:
    return f"{{{','.join(_instant(one) if one else 'NULL' for one in instants)}}}"
