"""The sweeps of retention and expiry: which policy keeps what, and where a run goes on."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications import metrics
from notifications.conf import conf
from notifications.log import append as appending
from notifications.log import purge as purging
from notifications.log.append import append
from notifications.models import Log, Message, Topic, TopicPolicy
from notifications.services import retention
from notifications.services.retention import (
    expired_are_left,
    is_behind,
    measure_lag,
    retention_lag,
    sweep_retention,
)
from notifications.services.sweeps import run_sweep
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2030, 1, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Any:
    def publish(age: timedelta, *topics: str, payload: str = "x") -> None:
        moment = int((NOW - age).timestamp() * 1000)
        monkeypatch.setattr(appending, "now_ms", lambda: moment)
        append([publication(topic, payload) for topic in topics])

    return publish


@pytest.fixture(autouse=True)
def _no_pass_of_another_test() -> None:
    retention._passes.clear()


def left() -> dict[str, int]:
    return dict(Counter(Message.objects.values_list("topic__name", flat=True)))


def marks() -> tuple[datetime | None, dict[str, datetime | None]]:
    policies = TopicPolicy.objects.values_list("pattern", "swept_before")
    return Log.objects.get().swept_before, dict(policies)


def test_age_by_the_policy_of_each_topic(publish: Any) -> None:
    TopicPolicy.objects.create(pattern="short.*", retention=3600)
    TopicPolicy.objects.create(pattern="long.**", retention=30 * 86_400)
    TopicPolicy.objects.create(pattern="other.*", ttl=5)  # leaves retention to the general rule
    publish(8 * DAY, "a", "short.a", "long.a", "other.a")
    publish(2 * HOUR, "a", "short.a", "long.a", "other.a")
    assert sweep_retention(now=NOW) == 4
    assert left() == {"a": 1, "long.a": 2, "other.a": 1}
    assert Topic.objects.get(name="short.a").purged_seq == 2
    assert Topic.objects.get(name="long.a").floor == 0
    assert sweep_retention(now=NOW) == 0


def test_the_general_rule_is_the_setting(publish: Any, settings: Any) -> None:
    publish(2 * HOUR, "a")
    assert sweep_retention(now=NOW) == 0
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"RETENTION": 3600.0}
    assert conf().retention == 3600
    assert sweep_retention(now=NOW) == 1


def test_a_run_begins_at_the_mark(publish: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    TopicPolicy.objects.create(pattern="short.*", retention=3600)
    TopicPolicy.objects.create(pattern="brief.*", retention=20)
    publish(9 * DAY, "a")
    sweep_retention(now=NOW)
    assert marks() == (NOW - 7 * DAY, {"short.*": NOW, "brief.*": NOW})
    looked: list[str] = []
    stored = purging.stored_between

    def note(start: Any, end: Any, *, limit: int) -> Any:
        rows = stored(start, end, limit=limit)
        looked.extend(row.topic for row in rows)
        return rows

    monkeypatch.setattr(retention, "stored_between", note)
    publish(9 * DAY, "a")  # far before the mark: nobody looks there again
    publish(7 * DAY, "b")
    publish(2 * HOUR, "short.old")
    publish(HOUR, "short.new")
    publish(timedelta(seconds=59), "brief.late")  # its commit took that long
    publish(timedelta(seconds=61), "brief.later")
    assert sweep_retention(now=NOW + timedelta(seconds=1)) == 3
    assert sorted(looked) == ["b", "brief.late", "short.new"]
    assert left() == {"a": 1, "short.old": 1, "brief.later": 1}


@pytest.mark.parametrize("change", ["save", "delete", "queryset", "add"])
def test_a_changed_policy_sets_the_marks_back(change: str, publish: Any) -> None:
    policy = TopicPolicy.objects.create(pattern="long.*", retention=30 * 86_400)
    TopicPolicy.objects.create(pattern="other.*", retention=3600)
    publish(8 * DAY, "long.a")
    assert sweep_retention(now=NOW) == 0
    assert marks() == (NOW - 7 * DAY, {"long.*": NOW, "other.*": NOW})
    if change == "save":
        policy.retention = 86_400
        policy.save()
    elif change == "delete":
        policy.delete()
    elif change == "queryset":
        TopicPolicy.objects.filter(pattern="long.*").delete()
    else:
        TopicPolicy.objects.create(pattern="long.a", retention=3600)
    general, others = marks()
    assert general is None
    assert set(others.values()) == {None}
    assert sweep_retention(now=NOW) == 1


def test_a_run_that_is_overtaken_by_a_change_writes_no_mark(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(8 * DAY, "a")
    purge = purging.purge

    def change_meanwhile(rows: Sequence[Any], *, now: datetime) -> int:
        TopicPolicy.objects.create(pattern="b", retention=1)
        return purge(rows, now=now)

    monkeypatch.setattr(retention, "purge", change_meanwhile)
    assert sweep_retention(now=NOW) == 1
    assert marks() == (None, {"b": None})


@pytest.fixture
def two_seconds_a_purge(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    purge = purging.purge

    def take_long(rows: Sequence[Any], *, now: datetime) -> int:
        clock[0] += 2
        return purge(rows, now=now)

    monkeypatch.setattr(retention, "purge", take_long)


@pytest.mark.usefixtures("two_seconds_a_purge")
def test_a_run_stops_when_its_time_is_over_and_goes_on(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    monkeypatch.setattr(retention, "WORK_SECONDS", 1.0)
    for days in (12, 11, 10, 9, 8):
        publish(days * DAY, "a")
    assert sweep_retention(now=NOW) == 2
    assert marks()[0] == NOW - 11 * DAY
    assert retention_lag(now=NOW) == {"general": 4 * 86_400, "policies": 0}
    assert is_behind(now=NOW)
    assert [sweep_retention(now=NOW) for _ in range(4)] == [2, 1, 0, 0]
    assert marks()[0] == NOW - 7 * DAY
    assert not is_behind(now=NOW)


@pytest.mark.usefixtures("two_seconds_a_purge")
def test_a_busy_policy_leaves_time_to_the_others_and_to_the_general_rule(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "WORK_SECONDS", 12.0)
    for pattern in ("busy.**", "calm.*"):
        TopicPolicy.objects.create(pattern=pattern, retention_count=1)
    for number in range(9):
        publish(HOUR, *[f"busy.t{number}"] * 2, *["calm.a"] * 2)
        publish(8 * DAY, "general.a")
    sweep_retention(now=NOW)
    # Of 12 seconds the policies have six; of these the busy one three, in which it begins two.
    kept = left()
    assert sum(kept.pop(f"busy.t{number}") for number in range(9)) == 16
    assert kept == {"calm.a": 1}
    assert {rule for rule, lag in retention_lag(now=NOW).items() if lag} == {"policies"}


@pytest.mark.usefixtures("two_seconds_a_purge")
def test_the_next_run_goes_on_with_the_topic_at_which_the_time_was_over(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "WORK_SECONDS", 2.0)
    TopicPolicy.objects.create(pattern="big.*", retention_bytes=3, retention=86_400)
    looked: list[int] = []
    over_bytes = purging.over_bytes

    def note(topic_id: int, most: int, *, after: int) -> int:
        looked.append(topic_id)
        return over_bytes(topic_id, most, after=after)

    monkeypatch.setattr(retention, "over_bytes", note)
    for number in range(4):
        publish(HOUR, *[f"big.t{number}"] * 2)
    runs = [sweep_retention(now=NOW + number * timedelta(minutes=1)) for number in range(5)]
    assert runs == [1, 1, 1, 1, 0]
    first = Topic.objects.get(name="big.t0").pk
    assert sorted(set(looked)) == [first, first + 1, first + 2, first + 3]
    assert len(looked) <= 8, "each when it is purged, and once more where the time was over then"
    # What came to the first topics meanwhile is looked at by the next pass.
    assert marks()[1] == {"big.*": NOW}
    publish(-HOUR, *["big.t0"] * 2)
    assert sweep_retention(now=NOW + HOUR) == 2


def test_how_far_it_is_behind_is_not_less_than_what_is_there(publish: Any) -> None:
    assert retention_lag(now=NOW) == {"general": 0, "policies": 0}
    publish(9 * DAY, "a", "short.a", "few.a")
    assert retention_lag(now=NOW) == {"general": 2 * 86_400, "policies": 0}
    TopicPolicy.objects.create(pattern="other.*", ttl=5)
    assert retention_lag(now=NOW)["policies"] == 0
    TopicPolicy.objects.create(pattern="short.*", retention=86_400)
    assert retention_lag(now=NOW)["policies"] == 8 * 86_400
    TopicPolicy.objects.create(pattern="few.*", retention_count=1)
    assert retention_lag(now=NOW)["policies"] == 9 * 86_400
    sweep_retention(now=NOW)
    assert not is_behind(now=NOW)
    later = NOW + timedelta(seconds=30)
    assert retention_lag(now=later) == {"general": 30, "policies": 30}
    measure_lag(now=later)
    shown = {rule: metrics.retention_lag.labels(rule)._value.get() for rule in ("general",)}
    assert shown == {"general": 30}


def test_the_newest_so_many_of_each_topic(publish: Any) -> None:
    TopicPolicy.objects.create(pattern="many.**", retention_count=3)
    TopicPolicy.objects.create(pattern="many.one", retention_count=1)
    publish(HOUR, *["many.a"] * 5, *["many.few"] * 3, *["many.one"] * 4, *["free"] * 9)
    assert sweep_retention(now=NOW) == 5
    assert left() == {"many.a": 3, "many.few": 3, "many.one": 1, "free": 9}
    topic = Topic.objects.get(name="many.a")
    assert (topic.seq, topic.purged_seq) == (5, 2)
    assert sorted(topic.message_set.values_list("seq", flat=True)) == [3, 4, 5]
    publish(HOUR, "many.a")
    assert sweep_retention(now=NOW) == 1


def test_expired_ones_count_and_are_not_looked_for_twice(publish: Any) -> None:
    TopicPolicy.objects.create(pattern="a", retention_count=1)
    publish(HOUR, "a", "a", "a")
    Message.objects.filter(seq__lte=2).delete()
    assert sweep_retention(now=NOW) == 0
    assert Topic.objects.get().purged_seq == 2


def test_the_newest_so_many_bytes_where_something_was_published(publish: Any) -> None:
    TopicPolicy.objects.create(pattern="big.*", retention_bytes=10)
    publish(HOUR, *["big.a"] * 5)  # three bytes each, with the quotes
    publish(HOUR, *["big.b"] * 3)
    assert sweep_retention(now=NOW) == 2
    assert left() == {"big.a": 3, "big.b": 3}
    Topic.objects.filter(name="big.a").update(last_published_at=NOW - DAY)
    publish(-HOUR, "big.a")
    publish(-HOUR, "big.b", payload="xxxx")
    Topic.objects.filter(name="big.a").update(last_published_at=NOW - DAY)
    assert sweep_retention(now=NOW + HOUR) == 2, "of big.b alone: big.a is not looked at"
    assert left() == {"big.a": 4, "big.b": 2}


def test_count_and_bytes_and_age_together(publish: Any) -> None:
    TopicPolicy.objects.create(pattern="a", retention=86_400, retention_count=4, retention_bytes=9)
    publish(2 * DAY, "a")
    publish(HOUR, *["a"] * 2)
    assert sweep_retention(now=NOW) == 1
    publish(HOUR, *["a"] * 3)
    assert sweep_retention(now=NOW) == 2
    assert left() == {"a": 3}


def test_expired_messages_are_swept(publish: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(HOUR, "a", "b")
    Message.objects.filter(topic__name="a").update(expires_at=NOW - HOUR)
    assert expired_are_left(now=NOW)
    assert run_sweep("expired_messages", now=NOW) == 1
    assert not expired_are_left(now=NOW)
    assert left() == {"b": 1}
    assert run_sweep("retention", now=NOW) == 0
