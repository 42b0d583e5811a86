"""Publishing, sweeping and policies from the command line."""

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from django.utils import timezone

from notifications.models import Message, PendingPublication, TopicPolicy
from notifications.services import sweeps
from notifications.services.policies import RULES
from notifications.services.sweeps import SWEEPS
from tests.commands.calling import call

# The writer has a connection of its own, so what it commits must be visible and stay.
pytestmark = pytest.mark.django_db(transaction=True)


def published(*arguments: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(call("publish", *arguments))
    return line


def test_publish_prints_where_the_message_stands() -> None:
    first = published("orders.1", '{"id": 1, "state": "paid"}', "--priority", "high")
    second = published("orders.1", "null", "--expires-at", "2030-01-01T00:00:00Z")
    assert (first["topic"], first["seq"], second["seq"]) == ("orders.1", 1, 2)
    assert second["position"] == [first["position"][0], first["position"][1] + 1]
    rows = [Message.objects.get(pk=line["id"]) for line in (first, second)]
    assert [row.payload for row in rows] == ['{"id":1,"state":"paid"}', "null"]
    assert [row.metadata for row in rows] == [
        '{"priority":"high"}',
        '{"expiresAt":"2030-01-01T00:00:00.000Z"}',
    ]


def test_publish_reads_the_payload_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("[1, 2]\n"))
    assert Message.objects.get(pk=published("a", "-")["id"]).payload == "[1,2]"


def test_a_retry_with_the_same_key_is_a_duplicate() -> None:
    first = published("a", "1", "--idempotency-key", "k")
    again = published("a", "1", "--idempotency-key", "k")
    assert again == first | {"duplicate": True}
    with pytest.raises(CommandError, match="CONFLICT"):
        call("publish", "a", "2", "--idempotency-key", "k")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a", '{"x": }'), "line 1, column 7"),
        (("a", "{\n  'x': 1}"), "line 2, column 3"),
        (("a", "hello"), "its own quotes"),
        (("a", "[NaN]"), "NaN is no number"),
        (("a", "[" * 100_000), "no JSON|too deep"),
        (("a..b", "1"), "BAD_TOPIC"),
        (("a.*", "1"), "wildcard"),
        (("$sys.x", "1"), "FORBIDDEN"),
        (("a", "1", "--expires-at", "tomorrow"), "RFC 3339"),
        (("a", json.dumps("x" * 50_000)), "PAYLOAD_TOO_LARGE"),
    ],
)
def test_refusals_say_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        call("publish", *arguments)
    assert not Message.objects.exists()


def test_sweep_runs_every_sweep_once() -> None:
    PendingPublication.objects.create(
        topic="left.behind",
        payload="1",
        publisher="system",
        created_at=timezone.now() - timedelta(minutes=1),
        next_attempt_at=timezone.now() - timedelta(minutes=1),
    )
    lines = dict(line.split(": ") for line in call("sweep").splitlines())
    assert list(lines) == list(SWEEPS)
    assert lines["outbox"] == "1"
    assert Message.objects.get().topic.name == "left.behind"
    assert dict(line.split(": ") for line in call("sweep").splitlines())["outbox"] == "0"


def test_a_sweep_that_fails_does_not_keep_the_others_from_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*, now: datetime) -> int:
        raise OperationalError("canceling statement due to statement timeout")

    first, *others = SWEEPS
    monkeypatch.setattr(sweeps, "SWEEPS", {**SWEEPS, first: fail})
    out = StringIO()
    with pytest.raises(CommandError, match=f"{first}: .*statement timeout"):
        call_command("sweep", stdout=out)
    assert [line.split(": ")[0] for line in out.getvalue().splitlines()] == others


def test_policy_is_set_in_parts_shown_and_deleted() -> None:
    assert call("policy", "a.*", "--ttl", "60") == "a.* durable ttl=60\n"
    both = "a.* durable ttl=60 payload-bytes=100\n"
    assert call("policy", "a.*", "--payload-bytes", "100") == both
    assert call("policy", "a.*") == both
    assert call("policy", "a.*", "--ttl", "none") == "a.* durable payload-bytes=100\n"
    assert call("policy", "a.*", "--ephemeral") == "a.* ephemeral payload-bytes=100\n"
    assert call("policy", "a.*", "--durable", "--acknowledged") == (
        "a.* durable acknowledged payload-bytes=100\n"
    )
    assert call("policy", "a.*", "--no-acknowledged") == "a.* durable payload-bytes=100\n"
    assert call("policy", "a.*", "--delete") == "a.* deleted\n"
    assert not TopicPolicy.objects.exists()


def test_every_rule_has_an_option() -> None:
    numbers = {
        name: str(90_000 + place)
        for place, name in enumerate(RULES)
        if name not in ("ephemeral", "acknowledged", "batch_size", "batch_delay", "overflow")
    } | {"batch_size": "100", "batch_delay": "0"}
    options = [part for name, n in numbers.items() for part in (f"--{name.replace('_', '-')}", n)]
    call("policy", "a", "--acknowledged", "--overflow=disconnect", *options)
    row = TopicPolicy.objects.values(*RULES).get()
    assert row == {name: int(n) for name, n in numbers.items()} | {
        "ephemeral": False,
        "acknowledged": True,
        "overflow": "disconnect",
    }
    passing = call("policy", "b", "--ephemeral", "--overflow", "conflate")
    assert passing == "b ephemeral overflow=conflate\n"
    assert call("policy", "b", "--overflow", "none") == "b ephemeral\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a.**.b", "--ttl", "1"), "may only be the last"),
        (("a", "--ttl", "0"), "ttl: .*greater than or equal to 1"),
        (("a", "--payload-bytes", "-1"), "payload_bytes: .*greater than or equal to 1"),
        (("a", "--ttl", "soon"), "whole number"),
        (("a", "--ttl", "3153600001"), "ttl: .*a hundred years"),
        (("a", "--idempotency", "3600"), "idempotency: .*86400"),
        (("a", "--batch-size", "101"), "batch_size: .*100"),
        (("a", "--ephemeral", "--acknowledged"), "switch off one"),
        (("a", "--ephemeral", "--durable"), "not allowed with"),
        (("a", "--overflow", "conflate"), "never dropped"),
        (("a", "--overflow", "whatever"), "disconnect.*conflate"),
        (("a",), "has no policy"),
        (("a", "--delete"), "nothing was deleted"),
        (("a", "--delete", "--ttl", "1"), "either"),
    ],
)
def test_policy_refusals_say_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        call("policy", *arguments)
    assert not TopicPolicy.objects.exists()
