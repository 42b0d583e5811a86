"""Policies: how they are changed beside the retention that keeps its marks in them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.models import TopicPolicy
from notifications.services.policies import delete_policy, set_policy
from notifications.services.retention import sweep_retention

WAIT = 10.0


def delete_in_bulk() -> None:
    TopicPolicy.objects.filter(pattern="a.**").delete()


def save_alone() -> None:
    policy = TopicPolicy.objects.get()
    policy.ttl = 9
    policy.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda: set_policy("a.**", {"retention": 3_700}),
        lambda: set_policy("b.**", {"retention": 3_700}),
        lambda: delete_policy("a.**"),
        delete_in_bulk,
        save_alone,
    ],
    ids=["change", "make", "delete", "delete in bulk", "save"],
)
def test_the_log_is_locked_before_a_policy(change: Callable[[], Any]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    set_policy("a.**", {"retention": 3_600})
    with CaptureQueriesContext(connection) as captured:
        change()
    of_log = [
        "notifications_log" in query["sql"]
        for query in captured
        if "UPDATE" in query["sql"] or query["sql"].startswith(("INSERT", "DELETE"))
    ]
    assert of_log[0]
    assert not all(of_log)


@pytest.mark.django_db(transaction=True)
def test_a_policy_changes_while_retention_writes_its_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    set_policy("a.**", {"retention": 3_600})
    sweep_retention(now=timezone.now())  # so that there are marks to set back
    changing, go_on = threading.Event(), threading.Event()
    clean = TopicPolicy.full_clean

    def wait(policy: TopicPolicy, *args: Any, **kwargs: Any) -> None:
        changing.set()
        go_on.wait(WAIT)
        clean(policy, *args, **kwargs)

    monkeypatch.setattr(TopicPolicy, "full_clean", wait)
    errors: list[Exception] = []

    def run(work: Callable[[], Any]) -> threading.Thread:
        def go() -> None:
            try:
                work()
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=go)
        thread.start()
        return thread

    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchone()[0])

    change = run(lambda: set_policy("a.**", {"retention": 3_700}))
    assert changing.wait(WAIT)
    sweep = run(lambda: sweep_retention(now=timezone.now() + timedelta(minutes=1)))
    until = timezone.now() + timedelta(seconds=WAIT)
    while not blocked() and timezone.now() < until:
        pass
    go_on.set()
    for thread in (change, sweep):
        thread.join(WAIT)
        assert not thread.is_alive()
    assert errors == []
    assert TopicPolicy.objects.get().retention == 3_700
