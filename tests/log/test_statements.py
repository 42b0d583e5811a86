"""The statements of appending write the rows that the ORM would write, in each dialect."""

import operator
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError, connection

from notifications.log.append import append
from notifications.log.records import Appended, new_message_ids, to_datetime
from notifications.log.statements import KnownKey, Place, Row, statements
from notifications.models import IdempotencyKey, Message, Partition, PendingPublication, Topic
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

NOW = 1_700_000_000_000
LAST = 253_402_300_799_999
"""The last instant of the year 9999."""

TEXTS = [
    "",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    '","',
    "{}",
    "{a,b}",
    "a,b",
    " padded ",
    "%s %% %(x)s",
    "'; --",
    "E'\\x41'",
    "\\N",
    "tab\tand\nnew\r\nlines",
    "ä\u2028\U0001f600",
    "\x01\x7f",
    '{"a":"\\u0000\\"\\\\"}',
    "9" * 400,
]


def columns(table: str, *, without: str = "") -> list[Any]:
    """Return a table's rows as the database has them, in the order of their first text."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        return [
            {name: value for name, value in zip(names, row, strict=True) if name != without}
            for row in cursor.fetchall()
        ]


def write(rows: Sequence[Row], *, now: int = NOW) -> list[Place | None]:
    told = []
    with statements().transaction():
        places = statements().write(rows, published_at=now, before_commit=lambda: told.append(1))
    assert told == [1]
    return places


def row(id_: str, topic: str, partition: int, **more: Any) -> Row:
    return Row(id_, topic, partition, "1", "", "system", **more)


def test_rows_are_written_as_the_orm_writes_them() -> None:
    ids = sorted(new_message_ids(NOW, len(TEXTS)))
    expiries = [0, 1, 999, NOW, LAST]
    Partition.objects.filter(pk=3).update(head=2**62)
    now = to_datetime(NOW)
    moments = {"created_at": now, "last_published_at": now}
    topics = {
        name: Topic.objects.create(name=name, partition_id=3, seq=2**62, **moments)
        for name in map(topic_of, TEXTS)
    }
    rows = [
        Row(
            one,
            topic_of(text),
            3,
            text,
            text,
            text[:64],
            expiries[n % 5],
            f"{text[:60]} key" if n % 2 else None,
            bytes(range(n, n + 32)),
            LAST,
        )
        for n, (one, text) in enumerate(zip(ids, TEXTS, strict=True))
    ]
    places = write(rows)
    assert places == [Place(2**62 + n, 2**62 + 1) for n in range(1, len(rows) + 1)]
    messages = columns("notifications_message")
    keys = columns("notifications_idempotencykey", without="id")
    Message.objects.all().delete()
    IdempotencyKey.objects.all().delete()
    for one, place in zip(rows, places, strict=True):
        assert place is not None
        Message.objects.create(
            id=uuid.UUID(one.id),
            partition_id=one.partition,
            offset=place.offset,
            topic_id=topics[one.topic].pk,
            seq=place.seq,
            payload=one.payload,
            metadata=one.metadata,
            publisher=one.publisher,
            published_at=to_datetime(NOW),
            expires_at=to_datetime(one.expires_at) if one.expires_at else None,
        )
        if one.key is not None:
            IdempotencyKey.objects.create(
                publisher=one.publisher,
                key=one.key,
                digest=one.digest,
                message_id=uuid.UUID(one.id),
                topic=one.topic,
                seq=place.seq,
                partition=one.partition,
                offset=place.offset,
                published_at=to_datetime(NOW),
                expires_at=to_datetime(one.key_expires_at),
            )
    assert messages == columns("notifications_message")
    assert [one["payload"] for one in messages] == TEXTS
    key = operator.itemgetter("publisher")
    written = sorted(columns("notifications_idempotencykey", without="id"), key=key)
    assert sorted(keys, key=key) == written
    assert len(keys) == len(TEXTS) // 2


def topic_of(text: str) -> str:
    """Topics are given in any characters here: the statements rely on nobody's checks."""
    return f"topic {text}"[:200]


def test_known_keys_are_read_as_they_were_written() -> None:
    ids = new_message_ids(NOW, 3)
    made = [("a", "k"), ("b", "k"), ("b", 'l \\"')]
    rows = [
        Row(one, "t", 5, "1", "", publisher, 0, key, bytes([n] * 32), LAST)
        for n, (one, (publisher, key)) in enumerate(zip(ids, made, strict=True))
    ]
    write(rows)
    with statements().transaction():
        known = statements().known_keys([*made[1:], ("a", "l"), ("c", "k")])
    assert known == {
        ("b", "k"): KnownKey(b"\1" * 32, ids[1], "t", 2, 5, 2, NOW),
        ("b", 'l \\"'): KnownKey(b"\2" * 32, ids[2], "t", 3, 5, 3, NOW),
    }


def test_topics_are_made_and_advanced() -> None:
    ids = iter(new_message_ids(NOW, 8))
    first = [row(next(ids), name, at) for name, at in (("x", 2), ("a", 1), ("a", 1), ("b", 1))]
    assert write(first) == [Place(1, 1), Place(1, 1), Place(2, 2), Place(3, 1)]
    second = [row(next(ids), name, at) for name, at in (("b", 1), ("new", 3), ("a", 1), ("b", 1))]
    assert write(second, now=NOW + 5) == [Place(4, 2), Place(1, 1), Place(5, 3), Place(6, 3)]
    heads = Partition.objects.filter(head__gt=0).values_list("pk", "head")
    assert dict(heads) == {1: 6, 2: 1, 3: 1}
    topic = Topic.objects.get(name="b")
    assert (topic.seq, topic.partition_id) == (3, 1)
    assert (topic.created_at, topic.last_published_at) == (to_datetime(NOW), to_datetime(NOW + 5))
    assert (topic.floor, topic.purged_seq) == (0, 0)
    stored = Message.objects.order_by("partition_id", "offset")
    assert [(m.partition_id, m.offset, m.topic.name, m.seq) for m in stored] == [
        (1, 1, "a", 1),
        (1, 2, "a", 2),
        (1, 3, "b", 1),
        (1, 4, "b", 2),
        (1, 5, "a", 3),
        (1, 6, "b", 3),
        (2, 1, "x", 1),
        (3, 1, "new", 1),
    ]


def pending(count: int) -> list[int]:
    return [
        PendingPublication.objects.create(topic="a", payload="1", publisher="system").pk
        for _ in range(count)
    ]


def test_what_lost_its_outbox_row_is_not_written() -> None:
    pks = pending(3)
    of = [pks[2], None, 10**9, pks[0], None]
    ids = new_message_ids(NOW, len(of))
    keys = ["a", "b", "c", None, None]
    rows = [
        row(one, "a", 1, outbox_id=pk, key=key, digest=b"d", key_expires_at=LAST)
        for one, pk, key in zip(ids, of, keys, strict=True)
    ]
    assert write(rows) == [Place(1, 1), Place(2, 2), None, Place(3, 3), Place(4, 4)]
    assert list(PendingPublication.objects.values_list("pk", flat=True)) == [pks[1]]
    assert list(Message.objects.order_by("seq").values_list("offset", "seq")) == [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
    ]
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"a", "b"}


def test_where_all_lost_their_outbox_rows_nothing_moves() -> None:
    assert write([row(new_message_ids(NOW, 1)[0], "a", 1, outbox_id=10**9)]) == [None]
    assert not Message.objects.exists()
    assert not Topic.objects.exists()
    assert not Partition.objects.filter(head__gt=0).exists()


def test_an_outbox_row_is_taken_once() -> None:
    pks = pending(3)
    with statements().transaction():
        assert statements().take_pending([pks[2], pks[0], 10**9]) == {pks[0], pks[2]}
    assert list(PendingPublication.objects.values_list("pk", flat=True)) == [pks[1]]


@pytest.mark.parametrize(
    "fault",
    [
        {"expires_at": 10**15},  # no database of ours has the year 33658
        {"payload": b"\xff"},  # checked long before; the log relies on nobody
    ],
    ids=str,
)
def test_what_the_database_refuses_leaves_nothing_behind(fault: dict[str, Any]) -> None:
    append([publication("a.b", 1)])
    good, bad = publication("a.b", 2), msgspec.structs.replace(publication("a.b", 3), **fault)
    with pytest.raises((DatabaseError, ValueError)):
        append([good, bad])
    assert Message.objects.count() == 1
    (outcome,), _ = append([good])
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.offset) == (2, 2)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite takes any text")
@pytest.mark.parametrize("publisher", ["x" * 65, "a\0b"])
def test_text_that_postgresql_refuses_leaves_nothing_behind(publisher: str) -> None:
    connection.close()  # what is prepared for the first time is refused, and what comes behind it
    with pytest.raises(DatabaseError):
        append([publication("a.b", 1), publication("a.b", 2, publisher=publisher)])
    (outcome,), _ = append([publication("a.b", 1)])
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.offset) == (1, 1)
