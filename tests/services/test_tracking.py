"""Acknowledged delivery: who is written down, and what that costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.log.creation import read_identity
from notifications.models import (
    Delivery,
    Message,
    Partition,
    Session,
    Subscription,
    TopicPolicy,
)
from notifications.services import tracking
from notifications.services.policies import policies
from notifications.services.tracking import track
from tests.selectors import rows

pytestmark = pytest.mark.django_db

NOW = rows.NOW


def policy(pattern: str = "a.**", **fields: Any) -> None:
    TopicPolicy.objects.create(pattern=pattern, **({"acknowledged": True} | fields))
    policies._read_at = float("-inf")


@pytest.fixture(autouse=True)
def _stale_policies() -> None:
    policies._read_at = float("-inf")


def tracked(number: int = 0) -> int:
    return Partition.objects.get(pk=number).tracked


def written() -> list[tuple[int, str]]:
    """Each delivery's offset and client, in order."""
    found = Delivery.objects.order_by("offset", "session__client_id")
    return list(found.values_list("offset", "session__client_id"))


def test_those_who_subscribe_are_written_down() -> None:
    policy()
    rows.session("user:1", "here")
    rows.subscription("user:1", "a.*", "here")
    rows.session("user:1", "away", state=Session.State.RECONNECTING)
    rows.subscription("user:1", "a.b", "away")
    rows.session("user:1", "ended", ended=True)
    rows.subscription("user:1", "a.b", "ended")
    rows.session("user:1", "elsewhere")
    rows.subscription("user:1", "b.*", "elsewhere")
    first, _ = rows.messages("a.b", 2, publisher="user:9")
    assert track(now=NOW) == 4
    assert written() == [(1, "away"), (1, "here"), (2, "away"), (2, "here")]
    row = Delivery.objects.get(message_id=first.pk, session__client_id="here")
    assert (row.topic, row.partition, row.publisher) == ("a.b", 0, "user:9")
    assert (row.state, row.attempts, row.reason, row.since) == ("pending", 1, "", NOW)
    assert row.next_attempt_at == first.published_at + timedelta(seconds=30)
    assert tracked() == 2


def test_the_policy_says_within_what_time() -> None:
    policy(ack_timeout=7)
    rows.session("user:1")
    rows.subscription("user:1", "a.b")
    (message,) = rows.messages("a.b", 1)
    track(now=NOW)
    assert Delivery.objects.get().next_attempt_at == message.published_at + timedelta(seconds=7)


def test_a_subscription_begins_after_an_offset_of_this_epoch() -> None:
    policy()
    for client_id, epoch in (("now", read_identity().epoch), ("before", "another")):
        rows.session("user:1", client_id)
        rows.subscription("user:1", "a.b", client_id)
        Subscription.objects.filter(client_id=client_id).update(begin={"0": 2}, epoch=epoch)
    rows.messages("a.b", 3)
    track(now=NOW)
    assert written() == [(1, "before"), (2, "before"), (3, "before"), (3, "now")]


@pytest.mark.parametrize("acknowledged", [None, False, True])
def test_where_no_policy_asks_for_it_the_mark_moves(acknowledged: bool | None) -> None:
    if acknowledged is not None:
        policy("a.b" if not acknowledged else "other.*", acknowledged=acknowledged)
    rows.session("user:1")
    rows.subscription("user:1", "**")
    rows.messages("a.b", 3)
    assert track(now=NOW) == 0
    assert tracked() == 3
    # What was published before the policy is nobody's to acknowledge.
    policy("a.*")
    assert track(now=NOW) == 0
    assert not Delivery.objects.exists()


def test_a_message_is_written_down_once() -> None:
    policy()
    rows.session("user:1")
    rows.subscription("user:1", "a.b")
    rows.messages("a.b", 2)
    assert track(now=NOW) == 2
    assert track(now=NOW) == 0
    assert written() == [(1, "c"), (2, "c")]
    # Another host that had read the same mark comes later, and leaves nothing behind.
    stale = Partition(pk=0, head=2, tracked=0)
    _, again = tracking._deliveries_of(tracking._messages_to_track(stale, 2, ["a.**"]), now=NOW)
    assert len(again) == 2
    assert not tracking._set_up(stale, 2, again)
    assert Delivery.objects.count() == 2
    Delivery.objects.filter(offset=1).delete()
    assert not tracking._set_up(stale, 2, again)
    assert written() == [(2, "c")]


def test_a_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    policy()
    monkeypatch.setattr(tracking, "TRACK_BATCH", 3)
    monkeypatch.setattr(tracking, "TRACK_ROWS", 2)
    for number in range(2):
        rows.session("user:1", f"c{number}")
        rows.subscription("user:1", "a.b", f"c{number}")
    steps = []
    set_up = tracking._set_up

    def noted(partition: Partition, reached: int, made: list[Delivery]) -> bool:
        steps.append((reached, len(made)))
        return set_up(partition, reached, made)

    monkeypatch.setattr(tracking, "_set_up", noted)
    rows.messages("a.b", 4)
    Message.objects.filter(offset=2).delete()  # purged meanwhile
    assert track(now=NOW) == 6
    assert steps == [(2, 2), (3, 2), (4, 2)]
    assert tracked() == 4


def test_a_full_batch_without_a_subscriber_does_not_skip_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy()
    monkeypatch.setattr(tracking, "TRACK_BATCH", 2)
    rows.session("user:1")
    rows.subscription("user:1", "a.b")
    Subscription.objects.update(begin={"0": 4}, epoch=read_identity().epoch)
    rows.messages("a.b", 5)
    assert track(now=NOW) == 1
    assert written() == [(5, "c")]


def test_what_others_publish_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "TRACK_BATCH", 2)
    policy("a.b.*")
    policy("a.b.calm", acknowledged=False)
    rows.session("user:1")
    rows.subscription("user:1", "**")
    rows.messages("other", 30)
    rows.messages("a.b.calm", 1, offset=31)
    rows.messages("a.b.asked", 1, offset=32)
    Partition.objects.filter(pk=0).update(head=33)
    loaded: list[str] = []
    deliveries_of = tracking._deliveries_of

    def note(messages: Any, **more: Any) -> Any:
        loaded.extend(message.topic for message in messages)
        return deliveries_of(messages, **more)

    monkeypatch.setattr(tracking, "_deliveries_of", note)
    with CaptureQueriesContext(connection) as captured:
        assert track(now=NOW) == 1
    assert (written(), tracked()) == ([(32, "c")], 33)
    assert loaded == ["a.b.calm", "a.b.asked"]
    marks = [q["sql"] for q in captured if q["sql"].startswith('UPDATE "notifications_partition"')]
    assert len(marks) == 2, "the bound of a batch is reached once"


def test_a_statement_looks_through_so_many_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "TRACK_SPAN", 4)
    policy("a.b")
    rows.session("user:1")
    rows.subscription("user:1", "**")
    rows.messages("other", 9)
    rows.messages("a.b", 1, offset=10)
    Partition.objects.filter(pk=0).update(head=10)
    steps: list[int] = []
    set_up = tracking._set_up

    def noted(partition: Partition, reached: int, made: list[Delivery]) -> bool:
        steps.append(reached)
        return set_up(partition, reached, made)

    monkeypatch.setattr(tracking, "_set_up", noted)
    assert track(now=NOW) == 1
    assert steps == [4, 8, 10]
    assert written() == [(10, "c")]
