"""publish() and publish_on_commit() from Django code, on the database in use."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.principal import Principal
from notifications.errors import (
    BadFrame,
    BadTopic,
    Conflict,
    Forbidden,
    NotificationError,
    PayloadTooLarge,
)
from notifications.log.group_commit import GroupCommit
from notifications.log.records import Record, now_ms, to_ms
from notifications.models import IdempotencyKey, Message, PendingPublication, Topic, TopicPolicy
from notifications.services import publish, publish_on_commit, publishing
from notifications.services.policies import Policies, policies
from notifications.services.publishing import PublishInTransactionError, body_digest
from notifications.services.sweeps import run_sweep
from notifications.services.writer import writer

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = Principal(
    id="user:1", user_id=1, name="alice", is_admin=False, publish=("a.*",), subscribe=()
)


@pytest.fixture(autouse=True)
def fresh_policies() -> Iterator[None]:
    policies.refresh(max_age=0)
    yield
    policies.refresh(max_age=0)


def appended() -> list[tuple[str, str]]:
    assert writer().flush(10)
    return [(m.topic.name, m.payload) for m in Message.objects.select_related("topic")]


def test_publish_is_durable_when_it_returns() -> None:
    first = publish("a.b", {"x": [1, None, "ü"]}, metadata={"priority": "high"})
    second = publish("a.b", None)
    assert (first.seq, second.seq) == (1, 2)
    message = Message.objects.get(pk=first.id)
    assert message.payload == '{"x":[1,null,"ü"]}'
    assert message.metadata == '{"priority":"high"}'
    assert message.publisher == "system"
    assert to_ms(message.published_at) == first.published_at
    assert Topic.objects.get().seq == 2


@pytest.mark.parametrize(
    ("topic", "payload", "more", "error"),
    [
        ("a b", 1, {}, BadTopic),
        ("a.*", 1, {}, BadTopic),
        ("$sys.a", 1, {}, Forbidden),
        ("a.b", object(), {}, BadFrame),
        ("a.b", "x" * 49_151, {}, PayloadTooLarge),
        ("a.b", 1, {"metadata": {"priority": "very"}}, BadFrame),
        ("a.b", 1, {"metadata": {"expiresAt": "soon"}}, BadFrame),
        ("a.b", 1, {"idempotency_key": ""}, BadFrame),
        ("a.b", 1, {"idempotency_key": "x" * 129}, BadFrame),
        ("b.b", 1, {"principal": ALICE}, Forbidden),
    ],
)
def test_what_is_refused_leaves_nothing(
    topic: str, payload: Any, more: dict[str, Any], error: type[NotificationError]
) -> None:
    with pytest.raises(error):
        publish(topic, payload, **more)
    if "idempotency_key" not in more:
        with pytest.raises(error):
            publish_on_commit(topic, payload, **more)
    assert appended() == []


def test_permission_comes_before_the_key() -> None:
    publish("b.b", 1, idempotency_key="k")
    with pytest.raises(Forbidden):
        publish("b.b", 2, idempotency_key="k", principal=ALICE)


def test_a_retry_is_answered_as_the_first_was() -> None:
    body: dict[str, Any] = {"a": 1, "b": [1.5]}
    first = publish("a.b", body, idempotency_key="k", principal=ALICE)
    again = publish("a.b", {"b": [1.5], "a": 1.0}, idempotency_key="k", principal=ALICE)
    assert (again.id, again.seq, again.duplicate) == (first.id, first.seq, True)
    with pytest.raises(Conflict):
        publish("a.b", {"a": 2}, idempotency_key="k", principal=ALICE)
    with pytest.raises(Conflict):
        publish("a.c", body, idempotency_key="k", principal=ALICE)


def test_bodies_are_compared_as_json_values() -> None:
    same = [b'{"a":1,"b":2}', b'{"b":2,"a":1.0}', b'{"b":2e0,"a":1}']
    other = [b'{"a":1,"b":"2"}', b'{"a":1}', b'{"a":true,"b":2}', b"[1,2]"]
    digests = {body_digest("t", body, b"") for body in same}
    assert len(digests) == 1
    assert len(digests | {body_digest("t", body, b"") for body in other}) == 1 + len(other)


def test_publish_refuses_to_pretend_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(PublishInTransactionError, match="publish_on_commit"):
        publish("a.b", 1)


def test_publish_on_commit_publishes_after_the_commit_only() -> None:
    with transaction.atomic():
        publish_on_commit("a.b", {"n": 1})
        assert appended() == []
        assert PendingPublication.objects.count() == 1
    assert appended() == [("a.b", '{"n":1}')]
    assert not PendingPublication.objects.exists()


def test_publish_on_commit_publishes_nothing_after_a_rollback() -> None:
    with transaction.atomic():
        publish_on_commit("a.b", 1)
        transaction.set_rollback(True)
    assert appended() == []
    assert not PendingPublication.objects.exists()


def test_outside_a_transaction_it_publishes_soon() -> None:
    publish_on_commit("a.b", 1)
    assert appended() == [("a.b", "1")]


def test_the_sweep_carries_on_what_a_dead_process_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_carry_on", lambda _: None)  # it died after the commit
    with transaction.atomic():
        publish_on_commit("a.b", 1, metadata={"priority": "urgent"})
        publish_on_commit("a.b", 2)
    assert run_sweep("outbox", now=timezone.now()) == 0, "too fresh: its process may be at it"
    assert run_sweep("outbox", now=timezone.now() + timedelta(seconds=3)) == 2
    assert appended() == [("a.b", "1"), ("a.b", "2")]
    assert Message.objects.earliest("offset").metadata == '{"priority":"urgent"}'
    assert run_sweep("outbox", now=timezone.now() + timedelta(seconds=3)) == 0


def test_a_row_that_both_carry_on_is_appended_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(publishing, "_carry_on", kept.append)
    with transaction.atomic():
        publish_on_commit("a.b", 1)
    run_sweep("outbox", now=timezone.now() + timedelta(seconds=3))
    writer().submit(kept).result(10)
    assert appended() == [("a.b", "1")]


def test_a_sweep_that_cannot_append_keeps_the_row_for_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "_carry_on", lambda _: None)
    publish_on_commit("a.b", 1)

    def away(*_: Any) -> Any:
        raise NotificationError("the log is away")

    now = timezone.now() + timedelta(seconds=3)
    with monkeypatch.context() as patched:
        patched.setattr(GroupCommit, "append", away)
        assert run_sweep("outbox", now=now) == 0
    row = PendingPublication.objects.get()
    assert (row.attempts, row.last_error) == (1, "the log is away")
    assert row.next_attempt_at > now
    assert run_sweep("outbox", now=now) == 0
    assert run_sweep("outbox", now=now + timedelta(seconds=10)) == 1


def test_a_policy_gives_messages_a_time_to_live() -> None:
    TopicPolicy.objects.create(pattern="a.**", ttl=60)
    policies.refresh(max_age=0)
    before = now_ms()
    published = publish("a.b", 1)
    expires_at = Message.objects.get(pk=published.id).expires_at
    assert expires_at is not None
    assert before + 60_000 <= to_ms(expires_at) <= now_ms() + 60_000
    sooner = publish("a.b", 1, metadata={"expiresAt": "2001-01-01T00:00:00Z"})
    assert Message.objects.get(pk=sooner.id).expires_at.year == 2001  # type: ignore[union-attr]
    assert Message.objects.get(pk=publish("b.b", 1).id).expires_at is None


def test_a_policy_bounds_payloads() -> None:
    TopicPolicy.objects.create(pattern="a.b", payload_bytes=3)
    policies.refresh(max_age=0)
    publish("a.b", 123)
    with pytest.raises(PayloadTooLarge, match=r"policy of 'a\.b'"):
        publish("a.b", 1234)


@pytest.fixture
def relayed(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """What the writer relays; topics under e are ephemeral."""
    TopicPolicy.objects.create(pattern="e.**", ephemeral=True)
    policies.refresh(max_age=0)
    relayed: list[Record] = []
    monkeypatch.setattr(writer(), "relay", relayed.extend)
    return relayed


def test_what_is_published_to_an_ephemeral_topic_is_not_kept(relayed: list[Record]) -> None:
    for payload in (1, 2):  # the key has no effect, not even on another body
        passing = publish("e.a", payload, idempotency_key="k")
        assert (passing.seq, passing.offset, passing.duplicate) == (0, 0, False)
    assert writer().flush(10)
    assert [(one.topic, one.payload, one.offset) for one in relayed] == [
        ("e.a", b"1", 0),
        ("e.a", b"2", 0),
    ]
    assert relayed[-1].id == passing.id
    assert not Message.objects.exists()
    assert not Topic.objects.exists()
    assert not IdempotencyKey.objects.exists()


def test_an_ephemeral_message_on_commit_needs_no_outbox(relayed: list[Record]) -> None:
    with transaction.atomic():
        publish_on_commit("e.a", 1)
        assert not PendingPublication.objects.exists()
        assert writer().flush(10)
        assert relayed == []
    assert writer().flush(10)
    assert [one.topic for one in relayed] == ["e.a"]
    with transaction.atomic():
        publish_on_commit("e.a", 2)
        transaction.set_rollback(True)
    assert writer().flush(10)
    assert len(relayed) == 1


def test_the_most_specific_policy_wins() -> None:
    for number, pattern in enumerate(["**", "a.**", "a.*", "a.b", "*.b"]):
        TopicPolicy.objects.create(pattern=pattern, ttl=number + 1)
    fresh = Policies()
    fresh.refresh()
    chosen = {topic: fresh.of(topic).pattern for topic in ("a.b", "a.c", "a.b.c", "c.b", "c")}
    assert chosen == {"a.b": "a.b", "a.c": "a.*", "a.b.c": "a.**", "c.b": "*.b", "c": "**"}
    assert fresh.of("$sys.a").pattern is None
