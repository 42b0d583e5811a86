"""Appending on PostgreSQL: one statement, which is a transaction by itself.

Rows go in as arrays, one for each column, that the server makes rows of: the same statement
whatever the number of rows, so it is prepared. A statement each for heads, topics, messages and
keys, between BEGIN and COMMIT, costs the process four times as much for a lone message, although
pipelined.

Locks are taken in one order by every append, because each part of the statement needs all rows of
the part before: outbox rows by id, partitions by number, topics by name, keys by publisher and key.
"""

import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import psycopg
from django.db import DataError, connection, transaction

from notifications.log.records import to_datetime, to_ms
from notifications.log.statements.rows import KnownKey, Place, Row, places

_NEVER: Final = 1_000_000_000
"""Uses of a statement after which it would be prepared unasked."""

_STALE: Final = 8
"""Connections of the pool that may turn out to have ended, one after the other."""

_KNOWN_KEYS = """
SELECT publisher, key, digest, message_id, topic, seq, partition, "offset", published_at
FROM notifications_idempotencykey
WHERE (publisher, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""

_TAKE_PENDING = """
WITH pending AS (
    SELECT id FROM notifications_pendingpublication
    WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE
)
DELETE FROM notifications_pendingpublication AS row USING pending WHERE row.id = pending.id
RETURNING row.id
"""

_GIVEN = """
WITH now AS (SELECT %s::timestamptz AS moment),
given AS (
    SELECT * FROM unnest(
        %s::uuid[], %s::text[], %s::smallint[], %s::text[], %s::text[], %s::text[],
        %s::timestamptz[]
    ) WITH ORDINALITY
    AS row (id, topic, partition, payload, metadata, publisher, expires_at, place)
),
"""

_FRESH = """
fresh AS (SELECT * FROM given),
"""

_FRESH_OF_OUTBOX = """
carried AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS row (id, pending)),
pending AS (
    SELECT id FROM notifications_pendingpublication
    WHERE id IN (SELECT carried.pending FROM carried) ORDER BY id FOR UPDATE
),
taken AS (
    DELETE FROM notifications_pendingpublication AS row USING pending WHERE row.id = pending.id
    RETURNING row.id
),
fresh AS (
    SELECT given.* FROM given LEFT JOIN carried USING (id)
    WHERE carried.pending IS NULL OR carried.pending IN (SELECT taken.id FROM taken)
),
"""

_WRITTEN = """
moved AS (
    UPDATE notifications_partition AS row SET head = row.head + counted.messages
    FROM (
        SELECT locked.id,
            (SELECT count(*) FROM fresh WHERE fresh.partition = locked.id) AS messages
        FROM (
            SELECT id FROM notifications_partition
            WHERE id IN (SELECT fresh.partition FROM fresh) ORDER BY id FOR UPDATE
        ) AS locked
    ) AS counted
    WHERE row.id = counted.id
    RETURNING row.id, row.head - counted.messages AS head
),
advanced AS (
    INSERT INTO notifications_topic (name, partition_id, seq, created_at, last_published_at)
    SELECT topic, partition, count(*), moment, moment
    FROM fresh JOIN moved ON moved.id = partition, now
    GROUP BY topic, partition, moment ORDER BY topic COLLATE "C"
    ON CONFLICT (name) DO UPDATE SET
        seq = notifications_topic.seq + excluded.seq,
        last_published_at = excluded.last_published_at
    RETURNING name, id, seq
),
numbered AS (
    SELECT fresh.*, advanced.id AS topic_id,
        head + row_number() OVER (PARTITION BY partition ORDER BY place) AS "offset",
        seq - count(*) OVER (PARTITION BY topic)
            + row_number() OVER (PARTITION BY topic ORDER BY place) AS seq
    FROM fresh JOIN moved ON moved.id = partition JOIN advanced ON name = topic
),
written AS (
    INSERT INTO notifications_message (
        id, partition_id, "offset", topic_id, seq, payload, metadata, publisher, expires_at,
        published_at
    )
    SELECT id, partition, "offset", topic_id, seq, payload, metadata, publisher, expires_at, moment
    FROM numbered, now
)
"""

_KEYED = """
, keyed AS (
    INSERT INTO notifications_idempotencykey (
        publisher, key, digest, message_id, topic, seq, partition, "offset", expires_at,
        published_at
    )
    SELECT publisher, key, digest, id, topic, seq, partition, "offset", row.expires_at, moment
    FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::timestamptz[])
        AS row (id, key, digest, expires_at)
    JOIN numbered USING (id), now
    ORDER BY publisher COLLATE "C", key COLLATE "C"
)
"""

_NUMBERS = """
SELECT NULL AS topic, id AS partition, head AS number FROM moved
UNION ALL SELECT name, NULL, seq FROM advanced
"""

_TAKEN = """
UNION ALL SELECT NULL, NULL, id FROM taken
"""


@cache
def _write_statement(*, outbox: bool, keys: bool) -> str:
    return "".join(
        [
            _GIVEN,
            _FRESH_OF_OUTBOX if outbox else _FRESH,
            _WRITTEN,
            _KEYED if keys else "",
            _NUMBERS,
            _TAKEN if outbox else "",
        ]
    )


class PostgresStatements:
    """The statements of the log for PostgreSQL; see Statements."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Have a connection that has not ended; open no transaction."""
        if connection.in_atomic_block:
            with transaction.atomic(durable=True):  # refuses, except in tests that are within one
                yield
            return
        _connect()
        with connection.wrap_database_errors:
            yield

    def known_keys(self, identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownKey]:
        """Look the pairs up."""
        publishers, keys = zip(*identities, strict=True)
        return {
            (row[0], row[1]): KnownKey(
                bytes(row[2]), str(row[3]), row[4], row[5], row[6], row[7], to_ms(row[8])
            )
            for row in _answers(_KNOWN_KEYS, _texts(publishers), _texts(keys))
        }

    def write(
        self, rows: Sequence[Row], *, published_at: int, before_commit: Callable[[], None]
    ) -> list[Place | None]:
        """Send one statement, which commits."""
        ids, topics, partitions, payloads, metadata, publishers, expiries, *_ = zip(
            *rows, strict=True
        )
        values = [
            _instant(published_at),
            _plain(ids),
            _texts(topics),
            _plain(partitions),
            _texts(payloads),
            _texts(metadata),
            _texts(publishers),
            _instants(expiries),
        ]
        carried = [row for row in rows if row.outbox_id is not None]
        keyed = [
            (row.id, row.key, row.digest, row.key_expires_at) for row in rows if row.key is not None
        ]
        if carried:
            values += [
                _plain(row.id for row in carried),
                _plain(row.outbox_id or 0 for row in carried),
            ]
        if keyed:
            ids, keys, digests, expiries = zip(*keyed, strict=True)
            values += [
                _plain(ids),
                _texts(keys),
                _texts([f"\\x{digest.hex()}" for digest in digests]),
                _instants(expiries),
            ]
        statement = _write_statement(outbox=bool(carried), keys=bool(keyed))
        before_commit()
        heads, seqs, taken = {}, {}, set()
        for topic, partition, number in _answers(statement, *values):
            if topic is not None:
                seqs[topic] = number
            elif partition is not None:
                heads[partition] = number
            else:
                taken.add(number)
        for row in rows:
            if row.outbox_id is None or row.outbox_id in taken:
                seqs[row.topic] -= 1
        return places(rows, taken=taken, heads=heads, seqs=seqs)

    def take_pending(self, ids: Iterable[int]) -> set[int]:
        """Delete the outbox rows in the order of their ids."""
        return {pk for (pk,) in _answers(_TAKE_PENDING, _plain(ids))}


def _connect() -> None:
    """Connect, unless there is a connection that the server has not ended.

    An ended one would be noticed in the middle of the statement, when nobody knows any more whether
    it was committed. The server says nothing unasked but that.
    """
    for _ in range(_STALE):
        connection.ensure_connection()
        raw = connection.connection
        if not raw.closed:
            poll = select.poll()
            poll.register(raw.fileno(), select.POLLIN)
            if not poll.poll(0):
                # Django's connections prepare nothing; these prepare what asks for it only.
                raw.prepare_threshold = _NEVER
                return
            raw.close()  # so that the pool does not keep it
        connection.close()
    connection.ensure_connection()


def _answers(statement: str, *values: str) -> list[Any]:
    """Send a statement; return its rows."""
    if connection.queries_logged or connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        # Django's cursor is the one that logs. And where a pooler gives each transaction another
        # connection, which that setting says, nothing may be prepared.
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())
    sent = psycopg.Cursor(connection.connection).execute(statement, values, prepare=True)
    return list(sent.fetchall())


# Array literals as section 8.15.2 of PostgreSQL's manual has them. psycopg makes them too, at ten
# times the cost: it looks at each element's type.


def _plain(numbers: Iterable[int | str]) -> str:
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
