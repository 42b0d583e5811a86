from datetime import timedelta
from typing import Any

import pytest

from notifications.models import Partition, PendingPublication, Server, Session
from notifications.selectors.stats import ServerRow, read_stats
from tests.selectors import rows

pytestmark = pytest.mark.django_db


def server(name: str, **fields: Any) -> Server:
    return Server.objects.create(
        id=name, host="h", pid=1, **({"started_at": rows.NOW, "seen_at": rows.NOW} | fields)
    )


def test_an_empty_deployment() -> None:
    stats = read_stats()
    assert stats.sessions == dict.fromkeys(Session.State.values, 0)
    assert (stats.subscriptions, stats.topics, stats.messages, stats.pending) == (0, 0, 0, 0)
    assert stats.servers == ()


def test_figures(django_assert_num_queries: Any) -> None:
    old, new = server("old"), server("new", started_at=rows.NOW + timedelta(seconds=1))
    server("gone", stopped_at=rows.NOW)
    rows.session("user:1", server=old)
    rows.session("user:2", server=old)
    rows.session("user:3", server=old, state=Session.State.RECONNECTING)
    rows.session("user:4", server=new, ended=True)
    rows.subscription("user:1", "a.b")
    rows.subscription("user:3", "a.b")
    rows.topic("a.b")
    rows.topic("a.c")
    Partition.objects.filter(pk=0).update(head=40)
    Partition.objects.filter(pk=1).update(head=2)
    PendingPublication.objects.create(topic="a.b", payload="1", publisher="system")
    with django_assert_num_queries(6):
        stats = read_stats()
    assert stats.sessions == {
        "connecting": 0,
        "connected": 2,
        "reconnecting": 1,
        "disconnected": 0,
    }
    assert (stats.subscriptions, stats.topics, stats.messages, stats.pending) == (1, 2, 42, 1)
    assert stats.servers == (
        ServerRow(id="new", started_at=new.started_at, seen_at=new.seen_at, connections=0),
        ServerRow(id="old", started_at=old.started_at, seen_at=old.seen_at, connections=2),
    )
