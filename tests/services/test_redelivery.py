"""What servers are asked to give once more."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.errors import BadFrame, BadTopic, UnknownTopic
from notifications.models import Message, Redelivery
from notifications.services import redelivery
from notifications.services.redelivery import (
    forget_redeliveries,
    insert_redeliveries,
    last_redelivery_id,
    request_redelivery,
    wanted_since,
)
from notifications.services.sweeps import run_sweep
from tests.selectors import rows

pytestmark = pytest.mark.django_db

NOW = rows.NOW


def ranges() -> list[tuple[int, int]]:
    return list(Redelivery.objects.order_by("pk").values_list("after", "up_to"))


@pytest.mark.parametrize(
    ("arguments", "count", "asked"),
    [
        ({}, 5, (0, 5)),
        ({"after_seq": 2}, 3, (2, 5)),
        ({"before_seq": 3}, 2, (0, 2)),
        ({"after_seq": 1, "before_seq": 4}, 2, (1, 3)),
        ({"last": 2}, 2, (3, 5)),
        ({"last": 2, "before_seq": 4}, 2, (1, 3)),
        ({"last": 9, "after_seq": 3}, 2, (3, 5)),
    ],
)
def test_a_range_of_seq_becomes_one_of_offsets(
    arguments: dict[str, Any], count: int, asked: tuple[int, int]
) -> None:
    rows.messages("a.b", 5)
    assert request_redelivery("a.b", **arguments, now=NOW) == count
    row = Redelivery.objects.get()
    assert (row.topic, row.partition, (row.after, row.up_to)) == ("a.b", 0, asked)
    assert (row.session, row.created_at) == (None, NOW)


def test_offsets_are_those_of_the_topic_and_not_its_seqs() -> None:
    rows.messages("a.b", 3)
    for seq in (3, 2, 1):
        Message.objects.filter(seq=seq).update(offset=seq * 10)
    assert request_redelivery("a.b", after_seq=1, now=NOW) == 2
    assert ranges() == [(19, 30)]


def test_one_session_only() -> None:
    rows.messages("a.b", 1)
    session = rows.session("user:1")
    request_redelivery("a.b", session=session, now=NOW)
    assert Redelivery.objects.get().session == session


def test_where_nothing_is_left_nothing_is_asked_for() -> None:
    rows.messages("a.b", 2)
    Message.objects.update(expires_at=NOW)
    assert request_redelivery("a.b", now=NOW) == 0
    Message.objects.all().delete()
    assert request_redelivery("a.b", now=NOW) == 0
    assert ranges() == []


@pytest.mark.parametrize(
    ("topic", "arguments", "error", "words"),
    [
        ("a.c", {}, UnknownTopic, "Nothing was published to 'a.c'"),
        ("a.*", {}, BadTopic, r"a\.\*|pattern|topic"),
        ("a.b", {"after_seq": -1}, BadFrame, "1 or more"),
        ("a.b", {"before_seq": 0}, BadFrame, "1 or more"),
        ("a.b", {"after_seq": 3, "before_seq": 4}, BadFrame, "between the seq 3 and 4"),
        ("a.b", {"last": 0}, BadFrame, "from 1 to 10,000"),
        ("a.b", {"last": 10_001}, BadFrame, "from 1 to 10,000"),
    ],
)
def test_refusals(
    topic: str, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    rows.messages("a.b", 5)
    with pytest.raises(error, match=words):
        request_redelivery(topic, **arguments, now=NOW)
    assert ranges() == []


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redelivery, "MAX_MESSAGES", 4)
    rows.messages("a.b", 5)
    with pytest.raises(BadFrame, match="More than 4 messages"):
        request_redelivery("a.b", now=NOW)
    assert request_redelivery("a.b", after_seq=1, now=NOW) == 4


def test_servers_read_on_from_where_they_were() -> None:
    assert last_redelivery_id() == 0
    rows.messages("a.b", 1)
    for _ in range(5):
        request_redelivery("a.b", now=NOW)
    ids = list(Redelivery.objects.order_by("pk").values_list("pk", flat=True))
    assert last_redelivery_id() == ids[-1]
    assert [row.pk for row in wanted_since(0)] == ids
    assert [row.pk for row in wanted_since(ids[1])] == ids[2:]
    assert [row.pk for row in wanted_since(0, limit=2)] == ids[:2]
    assert wanted_since(ids[-1]) == []


def test_ids_become_visible_in_their_order() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    row = Redelivery(topic="a", partition=0, after=0, up_to=1, created_at=NOW + timedelta(0))
    with CaptureQueriesContext(connection) as captured:
        insert_redeliveries([row])
    statements = [query["sql"] for query in captured]
    (locked,) = [n for n, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql]
    (inserted,) = [n for n, sql in enumerate(statements) if sql.startswith("INSERT")]
    assert locked < inserted


def test_wishes_are_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redelivery, "FORGET_BATCH", 2)
    for seconds in range(5):
        Redelivery.objects.create(
            topic="a",
            partition=0,
            after=0,
            up_to=1,
            created_at=NOW + timedelta(seconds=seconds),
        )
    assert forget_redeliveries(now=NOW + timedelta(hours=1, seconds=3)) == 3
    assert Redelivery.objects.count() == 2
    assert run_sweep("redeliveries", now=NOW + timedelta(hours=2)) == 2
