"""The clients that go and come back beside a purge: what they take for wrong."""

from typing import Any

import pytest

from bench.load.absences import ON_ITS_WAY_MS, Client
from bench.purge import LOCK_WAIT_MS, faults


@pytest.fixture
def client() -> Client:
    client = Client("me", ["shop.1.*", "brief.t1"], {"shop.1.a": 4, "shop.2.a": 1, "brief.t1": 0})
    client._resume = {"sessionId": "secret", "cursor": {"epoch": "x", "offsets": {}}}
    return client


def message(seq: int, topic: str = "shop.1.a", **payload: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "topic": topic,
        "seq": seq,
        "position": [3, 10 + seq],
        "payload": payload,
    }


def place(client: Client) -> Any:
    assert client._resume is not None
    return client._resume["cursor"]["offsets"]


def test_what_comes_once_and_in_order_is_right(client: Client) -> None:
    client.take(message(5), now_ms=0)
    client.take(message(6) | {"replayed": True}, now_ms=0)
    assert place(client) == {"3": 16}
    client.take(
        {"type": "replay_complete", "recovered": True, "cursor": {"offsets": {"3": 15, "4": 2}}},
        now_ms=0,
    )
    assert place(client) == {"3": 16, "4": 2}
    assert not client.is_through({"shop.1.a": 7})
    assert client.is_through({"shop.1.a": 6, "shop.2.a": 9})
    found = client.close_accounts({"shop.1.a": 6, "shop.2.a": 9, "brief.t1": 0})
    assert (found.live, found.replayed) == (1, 1)
    assert (found.missing, found.repeated, found.withheld) == (0, 0, 0)


def test_a_hole_a_repetition_and_a_lost_end_are_found(client: Client) -> None:
    for seq in (5, 7, 7):
        client.take(message(seq), now_ms=0)
    assert client.close_accounts({"shop.1.a": 9}).missing == 3
    assert client.findings.repeated == 1


def test_what_has_expired_may_be_missing_but_not_late(client: Client) -> None:
    for seq, late in ((2, 0), (3, ON_ITS_WAY_MS), (4, ON_ITS_WAY_MS + 1)):
        client.take(message(seq, "brief.t1", until=1_000), now_ms=1_000 + late)
    found = client.close_accounts({"shop.1.a": 4, "brief.t1": 6})
    assert (found.in_time, found.withheld, found.missing) == (1, 3, 0)
    assert (found.late, found.late_ms) == (1, ON_ITS_WAY_MS + 1)


def test_a_loss_that_is_told_is_found_too(client: Client) -> None:
    client.take({"type": "gap"}, now_ms=0)
    client.take(
        {"type": "replay_complete", "recovered": False, "cursor": {"offsets": {}}}, now_ms=0
    )
    assert (client.findings.gaps, client.findings.unrecovered) == (1, 1)


RIGHT: dict[str, Any] = {"rows": 9, "purged": 9, "longest_lock_wait_ms": LOCK_WAIT_MS}
RIGHT |= {"holes": 0, "errors": 0}
CLIENTS: dict[str, Any] = {"resumes": 1, "replayed": 1, "live": 1, "in_time": 1, "withheld": 1}
CLIENTS |= dict.fromkeys(("late", "missing", "repeated", "gaps", "unrecovered"), 0) | {"errors": []}


def test_a_run_is_right() -> None:
    assert faults(RIGHT | {"clients": CLIENTS}) == []


@pytest.mark.parametrize(
    ("whole", "of_clients"),
    [
        ({"purged": 8}, {}),
        ({"longest_lock_wait_ms": LOCK_WAIT_MS + 0.1}, {}),
        ({"holes": 1}, {}),
        ({"errors": 1}, {}),
        *[({}, {name: 1}) for name in ("late", "missing", "repeated", "gaps", "unrecovered")],
        ({}, {"errors": ["OSError"]}),
        *[({}, {name: 0}) for name in ("resumes", "replayed", "live", "in_time", "withheld")],
    ],
)
def test_each_fault_fails_the_run(whole: dict[str, Any], of_clients: dict[str, Any]) -> None:
    assert len(faults(RIGHT | whole | {"clients": CLIENTS | of_clients})) == 1
