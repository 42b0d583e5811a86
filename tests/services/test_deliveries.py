"""Acknowledged delivery: what is tried again, how it ends."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.log.creation import read_identity
from notifications.models import (
    Delivery,
    Message,
    Redelivery,
    Session,
    Subscription,
    TopicPolicy,
)
from notifications.services import deliveries
from notifications.services.deliveries import (
    forget_deliveries,
    pause_after,
    retry,
)
from notifications.services.policies import policies
from notifications.services.sweeps import run_sweep
from tests.selectors import rows

pytestmark = pytest.mark.django_db

NOW = rows.NOW


def policy(pattern: str = "a.**", **fields: Any) -> None:
    TopicPolicy.objects.create(pattern=pattern, **({"acknowledged": True} | fields))
    policies._read_at = float("-inf")


@pytest.fixture(autouse=True)
def _stale_policies() -> None:
    policies._read_at = float("-inf")


# --- retry --------------------------------------------------------------------------------------


def waiting(*, attempts: int = 1, due: int = 0, **session: Any) -> Delivery:
    """Make a delivery of message 2 of a.b that is due in so many seconds."""
    to = rows.session("user:1", **session)
    if not Subscription.objects.exists():
        rows.subscription("user:1", "a.*")
        policy()
        rows.messages("a.b", 2)
    message = Message.objects.filter(offset=2).get()
    return Delivery.objects.create(
        message_id=message.pk,
        topic="a.b",
        partition=0,
        offset=2,
        publisher="system",
        session=to,
        since=NOW,
        attempts=attempts,
        next_attempt_at=NOW + timedelta(seconds=due),
    )


def cursor(offset: int, epoch: str | None = None) -> dict[str, Any]:
    return {"epoch": epoch or read_identity().epoch, "offsets": {"0": offset}}


LATER = NOW + timedelta(minutes=1)


def test_whoever_is_connected_and_silent_gets_it_again() -> None:
    row = waiting(acked=cursor(1))
    assert retry(now=LATER) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts, row.reason, row.since) == ("pending", 2, "no_ack", NOW)
    assert row.next_attempt_at == LATER + timedelta(seconds=60)
    wish = Redelivery.objects.get()
    assert (wish.topic, wish.partition, wish.after, wish.up_to) == ("a.b", 0, 1, 2)
    assert (wish.session_id, wish.created_at) == (row.session_id, LATER)


@pytest.mark.parametrize("state", ["connecting", "reconnecting", "disconnected"])
def test_whoever_is_away_is_left_alone(state: str) -> None:
    row = waiting(state=state)
    retry(now=LATER)
    row.refresh_from_db()
    assert (row.state, row.attempts, row.reason) == ("pending", 1, "away")
    assert row.next_attempt_at == LATER + timedelta(hours=1)
    assert not Redelivery.objects.exists()


def test_the_deliveries_of_a_client_that_stays_away_are_not_written_again() -> None:
    waiting(state="reconnecting")
    assert retry(now=LATER) == 1
    with CaptureQueriesContext(connection) as captured:
        for second in range(31, 3_600, 31):
            assert retry(now=LATER + timedelta(seconds=second)) == 0
    assert not [query["sql"] for query in captured if query["sql"].startswith("UPDATE")]
    assert retry(now=LATER + timedelta(hours=1)) == 1


@pytest.mark.parametrize("timeout", [None, 7])
def test_whoever_comes_back_has_the_time_that_the_policy_gives(
    monkeypatch: pytest.MonkeyPatch, timeout: int | None
) -> None:
    monkeypatch.setattr(deliveries, "WAKE_BATCH", 2)
    found = [waiting(client_id=f"c{number}", state="reconnecting") for number in range(3)]
    for number in range(3):
        rows.subscription("user:1", "a.b", f"c{number}")
    TopicPolicy.objects.update(ack_timeout=timeout)
    policies._read_at = float("-inf")
    back_at = LATER + timedelta(minutes=20)
    retry(now=LATER)
    Session.objects.update(state="connected", since=back_at)
    assert retry(now=back_at + timedelta(seconds=3)) == 0
    for row in found:
        row.refresh_from_db()
        assert (row.state, row.reason, row.attempts) == ("pending", "", 1)
        assert row.next_attempt_at == back_at + timedelta(seconds=timeout or 30)
    assert retry(now=back_at + timedelta(seconds=30)) == 3
    assert Redelivery.objects.count() == 3


def test_the_delivery_to_a_client_that_is_away_ends_with_its_session() -> None:
    row = waiting(state="reconnecting")
    retry(now=LATER)
    moment = LATER + timedelta(minutes=5)
    Session.objects.update(state="disconnected", ended_at=moment)
    assert retry(now=moment + timedelta(seconds=5)) == 1
    row.refresh_from_db()
    assert (row.state, row.reason) == ("undelivered", "session_ended")


def test_the_delivery_to_a_client_that_is_away_ends_with_the_message() -> None:
    row = waiting(state="reconnecting")
    expiry = LATER + timedelta(minutes=5, seconds=10)
    Message.objects.update(expires_at=expiry)
    retry(now=LATER)
    row.refresh_from_db()
    assert row.next_attempt_at == LATER + timedelta(minutes=6)
    assert retry(now=row.next_attempt_at) == 1
    row.refresh_from_db()
    assert (row.state, row.reason) == ("undelivered", "expired")


def test_what_is_not_due_is_not_looked_at() -> None:
    row = waiting(due=61, acked=cursor(2))
    assert retry(now=LATER) == 0
    row.refresh_from_db()
    assert row.state == "pending"


@pytest.mark.parametrize("ended", [False, True])
def test_a_cursor_acknowledges(ended: bool) -> None:
    at = NOW + timedelta(seconds=5)
    row = waiting(acked=cursor(2), acked_at=at, ended=ended, attempts=5)
    assert retry(now=LATER) == 1
    row.refresh_from_db()
    assert (row.state, row.reason, row.since) == ("acknowledged", "", at)
    assert row.next_attempt_at is None
    assert retry(now=LATER + timedelta(days=1)) == 0


def test_a_cursor_of_another_epoch_acknowledges_nothing() -> None:
    row = waiting(acked=cursor(2, "another"))
    retry(now=LATER)
    row.refresh_from_db()
    assert (row.state, row.reason) == ("pending", "no_ack")


def end(row: Delivery) -> None:
    Session.objects.filter(pk=row.session_id).update(ended_at=NOW)


def expire(row: Delivery) -> None:
    Message.objects.filter(pk=row.message_id).update(expires_at=LATER)


def purge(row: Delivery) -> None:
    Message.objects.filter(pk=row.message_id).delete()


def unsubscribe(row: Delivery) -> None:
    Subscription.objects.all().delete()


def subscribe_anew(row: Delivery) -> None:
    Subscription.objects.update(begin={"0": 2}, epoch=read_identity().epoch)


def try_often(row: Delivery) -> None:
    Delivery.objects.filter(pk=row.pk).update(attempts=5)


def try_as_often_as_the_policy_says(row: Delivery) -> None:
    TopicPolicy.objects.update(ack_attempts=1)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (end, "session_ended"),
        (expire, "expired"),
        (purge, "purged"),
        (unsubscribe, "unsubscribed"),
        (subscribe_anew, "unsubscribed"),
        (try_often, "not_acknowledged"),
        (try_as_often_as_the_policy_says, "not_acknowledged"),
    ],
)
def test_what_there_is_no_point_in_is_undelivered(happens: Any, reason: str) -> None:
    row = waiting()
    happens(row)
    assert retry(now=LATER) == 1
    row.refresh_from_db()
    assert (row.state, row.reason, row.since) == ("undelivered", reason, LATER)
    assert row.next_attempt_at is None
    assert not Redelivery.objects.exists()


def test_attempts_come_to_an_end() -> None:
    row = waiting()
    moment, pauses = NOW, []
    while row.state == "pending":
        assert row.next_attempt_at is not None
        pauses.append((row.next_attempt_at - moment).total_seconds())
        moment = row.next_attempt_at
        assert retry(now=moment) == 1
        row.refresh_from_db()
    assert pauses == [0, 60, 120, 240, 480]
    assert (row.attempts, row.reason) == (5, "not_acknowledged")
    assert Redelivery.objects.count() == 4


def test_pauses_are_bounded() -> None:
    assert pause_after(20, timeout=30) == timedelta(hours=1)
    assert pause_after(5000, timeout=30) == timedelta(hours=1)
    assert pause_after(2, timeout=7200) == timedelta(hours=2)


def test_all_that_are_due_are_looked_at_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "RETRY_BATCH", 2)
    for number in range(5):
        waiting(client_id=f"c{number}", due=number)
        if number:
            rows.subscription("user:1", "a.b", f"c{number}")
    rows.subscription("user:1", "a.b", "c0")
    assert retry(now=LATER) == 5
    assert Redelivery.objects.count() == 5


# --- Sweeps -------------------------------------------------------------------------------------


def test_the_sweep_tracks_and_retries() -> None:
    policy()
    rows.session("user:1")
    rows.subscription("user:1", "a.b")
    rows.messages("a.b", 2)
    assert run_sweep("deliveries", now=NOW + timedelta(hours=1)) == 4
    assert Redelivery.objects.count() == 2


def test_what_is_long_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "FORGET_BATCH", 2)
    week = timedelta(days=7)
    session = rows.session("user:1")
    kept: list[int] = []
    gone: list[int] = []
    for state in Delivery.State:
        for number in range(3):
            (message,) = rows.messages(f"{state}.t{number}", 1, offset=len(kept + gone) + 1)
            is_old = number > 0
            row = Delivery.objects.create(
                message_id=message.pk,
                topic="a.b",
                partition=0,
                offset=1,
                publisher="system",
                session=session,
                state=state,
                since=NOW - timedelta(seconds=number),
                next_attempt_at=NOW,
            )
            (gone if is_old and state != "pending" else kept).append(row.pk)
    assert forget_deliveries(now=NOW + week) == len(gone) == 4
    assert set(Delivery.objects.values_list("pk", flat=True)) == set(kept)
