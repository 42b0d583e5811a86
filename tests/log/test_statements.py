"""The statements of appending write the rows that the ORM would write, in each dialect."""

import uuid
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError, connection, transaction

from notifications.log.append import append
from notifications.log.records import Appended, new_message_ids, to_datetime
from notifications.log.statements import KeyRow, MessageRow, TopicRow, statements
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


def test_messages_are_written_as_the_orm_writes_them() -> None:
    ids = sorted(new_message_ids(NOW, len(TEXTS)))
    expiries = [0, 1, 999, NOW, LAST]
    rows = [
        MessageRow(one, 3, place, 2**62, 2**62 + place, text, text, text[:64], expiries[place % 5])
        for place, (one, text) in enumerate(zip(ids, TEXTS, strict=True), 1)
    ]
    with statements().together(), transaction.atomic():
        statements().insert_messages(rows, published_at=NOW)
    written = columns("notifications_message")
    Message.objects.all().delete()
    Message.objects.bulk_create(
        Message(
            id=uuid.UUID(row.id),
            partition_id=row.partition,
            offset=row.offset,
            topic_id=row.topic_id,
            seq=row.seq,
            payload=row.payload,
            metadata=row.metadata,
            publisher=row.publisher,
            published_at=to_datetime(NOW),
            expires_at=to_datetime(row.expires_at) if row.expires_at else None,
        )
        for row in rows
    )
    assert written == columns("notifications_message")
    assert [row["payload"] for row in written] == TEXTS


def test_keys_are_written_and_read_as_the_orm_does() -> None:
    texts = [text[:64] for text in TEXTS if text]
    rows = [
        KeyRow(text, f"{text} key", bytes(range(n, n + 32)), one, text, 2**62, 15, 2**62 + n, LAST)
        for n, (text, one) in enumerate(zip(texts, new_message_ids(NOW, len(texts)), strict=True))
    ]
    with statements().together(), transaction.atomic():
        statements().insert_keys(rows, published_at=NOW)
        known = statements().known_keys([(row.publisher, row.key) for row in rows] + [("a", "b")])
    assert known == {(row.publisher, row.key): (*row[2:8], NOW) for row in rows}
    written = columns("notifications_idempotencykey", without="id")
    IdempotencyKey.objects.all().delete()
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(
            publisher=row.publisher,
            key=row.key,
            digest=row.digest,
            message_id=uuid.UUID(row.message_id),
            topic=row.topic,
            seq=row.seq,
            partition=row.partition,
            offset=row.offset,
            published_at=to_datetime(NOW),
            expires_at=to_datetime(row.expires_at),
        )
        for row in rows
    )
    assert written == columns("notifications_idempotencykey", without="id")


def test_a_key_of_one_publisher_is_not_anothers() -> None:
    row = KeyRow("a", "k", b"d" * 32, str(uuid.uuid4()), "t", 1, 0, 1, LAST)
    with statements().together(), transaction.atomic():
        statements().insert_keys([row, row._replace(publisher="b", key="l")], published_at=NOW)
        known = statements().known_keys([("a", "l"), ("b", "k"), ("b", "l")])
    assert set(known) == {("b", "l")}


def test_topics_are_made_and_advanced() -> None:
    first = [TopicRow("a.b", 1, 3), TopicRow("x", 2, 1)]
    second = [TopicRow("a.b", 1, 2), TopicRow("new", 3, 1)]
    read = []
    for rows, now in ((first, NOW), (second, NOW + 5)):
        with statements().together(), transaction.atomic():
            read.append(statements().advance_topics(rows, now=now)())
    assert {name: seq for name, (_, seq) in read[0].items()} == {"a.b": 3, "x": 1}
    assert {name: seq for name, (_, seq) in read[1].items()} == {"a.b": 5, "new": 1}
    topic = Topic.objects.get(name="a.b")
    assert (topic.pk, topic.seq, topic.partition_id) == (read[0]["a.b"][0], 5, 1)
    assert (topic.created_at, topic.last_published_at) == (to_datetime(NOW), to_datetime(NOW + 5))
    assert (topic.floor, topic.purged_seq) == (0, 0)


def test_heads_are_locked_read_and_moved() -> None:
    with statements().together(), transaction.atomic():
        heads = statements().lock_heads([1, 7])
        assert heads() == {1: 0, 7: 0}
        statements().move_heads({1: 2**62, 7: 5})
    assert dict(Partition.objects.filter(head__gt=0).values_list("pk", "head")) == {1: 2**62, 7: 5}


def test_an_outbox_row_is_taken_once() -> None:
    pks = [
        PendingPublication.objects.create(topic="a", payload="1", publisher="system").pk
        for _ in range(3)
    ]
    with statements().together(), transaction.atomic():
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
