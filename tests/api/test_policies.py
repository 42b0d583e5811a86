"""/policies: the admin scope sets, sees and deletes; all others are refused."""

from typing import Any

import pytest

from notifications.models import TopicPolicy
from notifications.services.policies import RULES
from tests.api.conftest import Api

EVERYTHING: dict[str, Any] = {
    "ttl": 60_000,
    "retention": 86_400_000,
    "retentionCount": 5,
    "retentionBytes": 6,
    "idempotency": 172_800_000,
    "payloadBytes": 7,
    "replayMessages": 8,
    "batchSize": 9,
    "batchDelay": 10,
    "overflow": "disconnect",
    "acknowledged": True,
    "ackTimeout": 11_000,
    "ackAttempts": 12,
}


def test_a_policy_is_added_shown_listed_replaced_and_deleted(admin: Api) -> None:
    made = admin.post("policies", {"pattern": "a.**", **EVERYTHING})
    assert (made.status_code, made.json()) == (201, {"pattern": "a.**", **EVERYTHING})
    row = TopicPolicy.objects.values(*RULES).get()
    assert (row["ttl"], row["retention"], row["idempotency"]) == (60, 86_400, 172_800)
    assert (row["ack_timeout"], row["batch_delay"], row["acknowledged"]) == (11, 10, True)
    assert admin.get("policies/a.**").json() == made.json()
    replaced = admin.put("policies/a.**", {"ephemeral": True})
    assert (replaced.status_code, replaced.json()) == (200, {"pattern": "a.**", "ephemeral": True})
    assert admin.put("policies/b", {"ttl": 1000}).status_code == 200
    assert admin.get("policies").json() == {
        "policies": [{"pattern": "a.**", "ephemeral": True}, {"pattern": "b", "ttl": 1000}]
    }
    assert admin.delete("policies/a.**").status_code == 204
    assert admin.get("policies/a.**").json()["code"] == "NOT_FOUND"
    assert admin.delete("policies/a.**").status_code == 404


def test_a_policy_without_rules_needs_no_body(admin: Api) -> None:
    admin.put("policies/a", {"ttl": 1000})
    assert admin._client().put("/api/v1/policies/a").json() == {"pattern": "a"}
    assert TopicPolicy.objects.get().ttl is None


def test_a_pattern_has_one_policy(admin: Api) -> None:
    admin.post("policies", {"pattern": "a"})
    again = admin.post("policies", {"pattern": "a", "ttl": 1000})
    assert (again.status_code, again.json()["code"]) == (409, "CONFLICT")
    assert TopicPolicy.objects.get().ttl is None


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({"ttl": 1500}, "`ttl`"),
        ({"ttl": 0}, "`ttl`"),
        ({"idempotency": 3_600_000}, "a day at least"),
        ({"batchSize": 101}, "1 to 100"),
        ({"retention": 2**53 - 1}, "hundred years"),
        ({"ephemeral": True, "acknowledged": True}, "switch off one"),
        ({"overflow": "drop_oldest"}, "never dropped"),
        ({"overflow": "drop"}, "disconnect, drop_oldest, drop_newest, conflate"),
        ({"ephemeral": "yes"}, "true or false"),
    ],
)
def test_a_wrong_rule_is_named(admin: Api, rules: dict[str, Any], word: str) -> None:
    answers = (
        admin.post("policies", {"pattern": "a", **rules}),
        admin.put("policies/a", rules),
    )
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_FRAME")
        assert word in answer.json()["detail"]
    assert not TopicPolicy.objects.exists()


def test_a_bad_pattern_is_named(admin: Api) -> None:
    for answer in (admin.post("policies", {"pattern": "a..b"}), admin.put("policies/a..b", {})):
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_TOPIC")


def test_others_are_refused(api: Api) -> None:
    TopicPolicy.objects.create(pattern="a.b")
    answers = [
        api.get("policies"),
        api.post("policies", {"pattern": "a.c"}),
        api.get("policies/a.b"),
        api.put("policies/a.b", {"ttl": 1000}),
        api.delete("policies/a.b"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert TopicPolicy.objects.get().ttl is None
