"""The newest messages of a pattern: which they are, and that an index finds them."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.log import read as read_module
from notifications.log.newest import read_newest
from notifications.log.read import find_topics
from notifications.models import Message, Topic
from notifications.topics.matching import matches
from tests.selectors import rows

pytestmark = pytest.mark.django_db

TOPICS = ("a.b", "a.c", "a.d.e", "x.b")
HEADS = {0: 40, 1: 30}


@pytest.fixture(params=["few topics", "many topics"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "many topics":
        monkeypatch.setattr(read_module, "TOPICS_BOUND", 0)
    return str(request.param)


@pytest.fixture
def log() -> list[Message]:
    """Two partitions whose messages were published in turn; each fifth has expired."""
    now = timezone.now()
    made = []
    for partition, head in HEADS.items():
        topics = [
            Topic.objects.create(
                name=f"{name}.{partition}",
                partition_id=partition,
                seq=head,
                created_at=now,
                last_published_at=now,
            )
            for name in TOPICS
        ]
        for offset in range(1, head + 1):
            made.append(
                Message(
                    id=uuid.uuid4(),
                    partition_id=partition,
                    offset=offset,
                    topic=topics[offset * 7 % 4],
                    seq=offset,
                    payload="1",
                    publisher="system",
                    published_at=now + timedelta(seconds=offset * (partition + 1) + partition / 2),
                    expires_at=now - timedelta(seconds=1) if offset % 5 == 0 else None,
                )
            )
    return Message.objects.bulk_create(made)


def expected(
    log: list[Message], pattern: str, partitions: tuple[int, ...], through: list[int], count: int
) -> dict[int, int]:
    """The same, message by message."""
    found = [
        message
        for message in log
        if message.partition_id in partitions
        and message.offset <= through[message.partition_id]
        and message.expires_at is None
        and matches(pattern, message.topic.name)
    ]
    found.sort(key=lambda message: message.published_at, reverse=True)
    places: dict[int, int] = {}
    for message in found[:count]:
        before = message.offset - 1
        places[message.partition_id] = min(before, places.get(message.partition_id, before))
    return places


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("pattern", ["a.b.0", "a.*.0", "a.**", "**", "nothing.*"])
def test_they_are_the_last_of_all_that_match(log: list[Message], pattern: str, count: int) -> None:
    for partitions in ((0,), (1,), (0, 1)):
        for through in ([40, 30], [23, 11], [0, 30]):
            found = read_newest(pattern, partitions, through, count)
            assert found == expected(log, pattern, partitions, through, count)


def plans(work: Callable[[], Any]) -> list[str]:
    """Return how SQLite would answer each query of some work."""
    with CaptureQueriesContext(connection) as captured:
        work()
    found = []
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}".replace("%", "%%"))
            found.append("; ".join(row[3] for row in cursor.fetchall()))
    return found


@pytest.mark.skipif(connection.vendor != "sqlite", reason="bench.explain does it on PostgreSQL")
def test_sqlite_finds_them_by_an_index() -> None:
    rows.topic("a.b")
    topics, newest = plans(lambda: read_newest("a.*", [0], [40], 3))
    assert "name>? AND name<?" in topics
    assert "SCAN notifications" not in topics + newest
    index = "notifications_message USING INDEX messages_by_topic_and_offset (topic_id=? AND offset"
    assert newest.count(index) == newest.count("notifications_message") > 0


@pytest.mark.skipif(connection.vendor != "sqlite", reason="bench.explain does it on PostgreSQL")
@pytest.mark.parametrize(
    "patterns", [["a.*.b"], ["a.**", "x.b"], ["a.b.*", "a.c.*", "a.*", "x.b", "x.c"]]
)
def test_sqlite_finds_topics_by_their_literal_beginning(patterns: list[str]) -> None:
    (plan,) = plans(lambda: find_topics(0, patterns))
    assert "name>? AND name<?" in plan
    assert "SCAN" not in plan
    assert "partition" not in plan
