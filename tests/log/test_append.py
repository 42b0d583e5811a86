"""Append on the database in use: gapless numbers, idempotency, the outbox, one transaction."""

from collections import defaultdict
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from notifications.log.append import append
from notifications.log.read import read_range, read_state
from notifications.log.records import (
    Appended,
    CarriedBefore,
    Conflicting,
    Outcome,
    decode_records,
    encode_records,
    new_message_id,
    to_datetime,
    to_ms,
)
from notifications.models import Message, Partition, PendingPublication, Topic
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)


def numbers(outcomes: list[Outcome]) -> list[tuple[int, int]]:
    return [(one.seq, one.offset) for one in outcomes if isinstance(one, Appended)]


def test_offsets_and_seqs_are_gapless_over_batches() -> None:
    topics = ["user.1.a", "user.1.b", "user.2.a", "x"]
    for size in (1, 7, 30):
        append([publication(topics[index % len(topics)], index) for index in range(size)])
    offsets, seqs = defaultdict(list), defaultdict(list)
    for message in Message.objects.select_related("topic"):
        offsets[message.partition_id].append(message.offset)
        seqs[message.topic.name].append(message.seq)
    assert sum(map(len, offsets.values())) == 38
    for partition, values in offsets.items():
        assert sorted(values) == list(range(1, len(values) + 1))
        assert Partition.objects.get(pk=partition).head == len(values)
    for topic, values in seqs.items():
        assert sorted(values) == list(range(1, len(values) + 1))
        assert Topic.objects.get(name=topic).seq == len(values)


def test_within_a_batch_the_order_is_kept() -> None:
    outcomes, records = append([publication("user.1.a", n) for n in range(5)])
    assert numbers(outcomes) == [(n, n) for n in range(1, 6)]
    assert [record.payload for record in records] == [b"0", b"1", b"2", b"3", b"4"]


def test_what_is_read_is_what_was_appended() -> None:
    _, records = append(
        [
            publication(
                "user.1.a", {"text": "ä\u0000"}, metadata=b'{"priority":"high"}', urgent=True
            ),
            publication("user.1.b", None, expires_at=1_900_000_000_123),
        ]
    )
    partition = records[0].partition
    assert read_range(partition, 0, 2).records == records
    assert read_range(partition, 1, 2).records == records[1:]
    assert read_range(partition, 0, 1).records == records[:1]
    assert read_range(partition, 0, 2, limit=1).records == records[:1]
    assert read_state().heads[partition] == 2
    assert decode_records(encode_records(records)) == records


def test_a_key_is_answered_as_the_first_time() -> None:
    keyed: dict[str, Any] = {"idempotency_key": "k", "digest": b"d" * 32, "publisher": "user:1"}
    (first,), _ = append([publication("user.1.a", 1, **keyed)])
    (again,), records = append([publication("user.1.a", 1, **keyed)])
    assert isinstance(first, Appended)
    assert isinstance(again, Appended)
    assert again.duplicate
    assert not first.duplicate
    assert records == []
    assert (again.id, again.seq, again.offset, again.published_at) == (
        first.id,
        first.seq,
        first.offset,
        first.published_at,
    )
    assert Message.objects.count() == 1


def test_a_key_with_another_body_conflicts() -> None:
    keyed: dict[str, Any] = {"idempotency_key": "k", "publisher": "user:1"}
    append([publication("user.1.a", 1, digest=b"1" * 32, **keyed)])
    (outcome,), records = append([publication("user.1.a", 2, digest=b"2" * 32, **keyed)])
    assert outcome == Conflicting("k")
    assert records == []


def test_keys_belong_to_their_publisher() -> None:
    for publisher in ("user:1", "key:2"):
        append(
            [publication("user.1.a", 1, idempotency_key="k", digest=b"1" * 32, publisher=publisher)]
        )
    assert Message.objects.count() == 2


def test_a_key_twice_in_one_batch_makes_one_message() -> None:
    keyed: dict[str, Any] = {"idempotency_key": "k", "publisher": "user:1"}
    outcomes, records = append(
        [
            publication("user.1.a", 1, digest=b"1" * 32, **keyed),
            publication("user.1.a", 1, digest=b"1" * 32, **keyed),
            publication("user.1.a", 2, digest=b"2" * 32, **keyed),
            publication("user.1.a", 3),
        ]
    )
    assert len(records) == 2
    first, second, third, fourth = outcomes
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert isinstance(fourth, Appended)
    assert second.id == first.id
    assert second.duplicate
    assert third == Conflicting("k")
    assert (fourth.seq, fourth.offset) == (2, 2)


def test_an_outbox_row_is_carried_on_exactly_once() -> None:
    row = PendingPublication.objects.create(topic="user.1.a", payload="1", publisher="system")
    outcomes, records = append(
        [publication("user.1.a", 1, outbox_id=row.pk), publication("user.1.a", 1, outbox_id=row.pk)]
    )
    assert len(records) == 1
    assert outcomes[1] == CarriedBefore(row.pk)
    assert not PendingPublication.objects.exists()
    (outcome,), records = append([publication("user.1.a", 1, outbox_id=row.pk)])
    assert outcome == CarriedBefore(row.pk)
    assert records == []


def test_all_or_none() -> None:
    append([publication("user.1.a", 1)])
    with pytest.raises(RuntimeError, match="stop"):
        append([publication("user.1.a", 2)], before_commit=stop)
    assert Message.objects.count() == 1
    (outcome,), _ = append([publication("user.1.a", 3)])
    assert numbers([outcome]) == [(2, 2)]


def stop() -> None:
    raise RuntimeError("stop")


def test_it_refuses_to_run_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        append([publication("user.1.a", 1)])


def test_the_database_itself_refuses_a_second_message_at_an_offset() -> None:
    _, (record,) = append([publication("user.1.a", 1)])
    row = Message.objects.get()
    row.pk, row.seq = new_message_id(0), 2
    with pytest.raises(IntegrityError):
        row.save(force_insert=True)
    assert record.offset == row.offset


def test_instants_survive_exactly() -> None:
    for milliseconds in (0, 1, 999, 1_700_000_000_123, 253_402_300_799_999):
        assert to_ms(to_datetime(milliseconds)) == milliseconds


def test_message_ids_are_uuid7_and_sort_by_time() -> None:
    early, late = new_message_id(1_700_000_000_000), new_message_id(1_700_000_000_001)
    assert early.version == late.version == 7
    assert str(early) < str(late)
    assert early.int >> 80 == 1_700_000_000_000


def test_statements_of_a_batch_do_not_grow_with_it() -> None:
    append([publication(f"user.{n}.a", n) for n in range(20)])
    with CaptureQueriesContext(connection) as captured:
        append([publication(f"user.{n % 20}.a", n) for n in range(200)])
    statements = [query["sql"].split()[0] for query in captured.captured_queries]
    if connection.vendor == "postgresql":
        assert statements == ["WITH"]
    else:
        assert statements.count("SELECT") == 1
        assert len(statements) <= 9, statements
