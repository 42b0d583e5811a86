"""Who is let in: counts of sockets, of addresses and of users, and the rate of accepts."""

from typing import Any

import pytest

from notifications.errors import TooManyConnections
from notifications.gateway.admission import address_of
from notifications.process.gate import UNAUTHENTICATED_OF_ADDRESS, Gate


def make_gate(settings: Any, **values: Any) -> Gate:
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"RATE_LIMITS": True} | values
    return Gate(now=0.0)


def status(gate: Gate, address: str = "a", now: float = 0.0) -> int | None:
    refusal = gate.refusal(address, now=now)
    return None if refusal is None else refusal.status


def test_a_full_process_refuses_whoever_comes(settings: Any) -> None:
    gate = make_gate(settings, MAX_CONNECTIONS=2)
    for _ in range(2):
        assert status(gate) is None
        gate.enter("a")
        gate.known("a")
    refusal = gate.refusal("b", now=0.0)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after) == (503, 5)
    gate.leave()
    assert status(gate, "b") is None


def test_an_address_has_so_many_sockets_before_auth(settings: Any) -> None:
    gate = make_gate(settings)
    for _ in range(UNAUTHENTICATED_OF_ADDRESS):
        assert status(gate) is None
        gate.enter("a")
    assert status(gate) == 429
    assert status(gate, "b") is None, "others are not held back"
    gate.known("a")
    assert status(gate) is None


def test_all_addresses_together_have_a_tenth(settings: Any) -> None:
    gate = make_gate(settings, MAX_CONNECTIONS=1_000)
    for number in range(100):
        assert status(gate, str(number)) is None
        gate.enter(str(number))
    assert status(gate, "new") == 503
    gate.known("7")
    assert status(gate, "new") is None


def test_a_small_server_has_room_for_one_address(settings: Any) -> None:
    gate = make_gate(settings, MAX_CONNECTIONS=30)
    for _ in range(UNAUTHENTICATED_OF_ADDRESS):
        assert status(gate) is None
        gate.enter("a")


def test_no_more_a_second_than_the_rate(settings: Any) -> None:
    gate = make_gate(settings, ACCEPTS_PER_SECOND=5)
    assert [status(gate, now=0.0) for _ in range(6)] == [None] * 5 + [503]
    refusal = gate.refusal("a", now=0.0)
    assert refusal is not None
    assert refusal.retry_after == 1
    assert status(gate, now=0.3) is None


def test_a_user_has_so_many_sockets(settings: Any) -> None:
    gate = make_gate(settings, MAX_CONNECTIONS_PER_USER=2)
    gate.add_user("user:1", replaces=False)
    gate.add_user("user:1", replaces=False)
    with pytest.raises(TooManyConnections) as caught:
        gate.add_user("user:1", replaces=False)
    assert caught.value.retry_after
    gate.add_user("user:2", replaces=False)
    gate.add_user("user:1", replaces=True)  # the older one is about to go
    gate.remove_user("user:1")
    gate.remove_user("user:1")
    gate.add_user("user:1", replaces=False)


def test_everything_but_the_size_of_the_server_is_liftable(settings: Any) -> None:
    lifted = {"RATE_LIMITS": False, "ACCEPTS_PER_SECOND": 1, "MAX_CONNECTIONS_PER_USER": 1}
    gate = make_gate(settings, MAX_CONNECTIONS=200, **lifted)
    for _ in range(200):
        assert status(gate) is None
        gate.enter("a")
        gate.add_user("user:1", replaces=False)
    assert status(gate) == 503
    gate = make_gate(settings, MAX_CONNECTIONS=0, MAX_CONNECTIONS_PER_USER=0, ACCEPTS_PER_SECOND=0)
    for number in range(20_000):
        assert status(gate, str(number)) is None
        gate.enter(str(number))
        gate.add_user("user:1", replaces=False)


def test_nothing_is_remembered_of_who_is_gone(settings: Any) -> None:
    gate = make_gate(settings)
    gate.enter("a")
    gate.known("a")
    gate.add_user("user:1", replaces=False)
    gate.remove_user("user:1")
    gate.leave()
    assert (len(gate._strangers), len(gate._users), gate._open, gate._unknown) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", [b"1.1.1.1"], "9.9.9.9"),  # not from a proxy of ours: whoever wrote it
        ("10.0.0.1", [b"6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"6.6.6.6", b"1.1.1.1 , 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"10.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", [b" , "], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        (None, [b"1.1.1.1"], ""),
    ],
)
def test_the_address_behind_proxies(
    settings: Any, peer: str | None, forwarded: list[bytes], address: str
) -> None:
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"TRUSTED_PROXIES": ["10.0.0.1", "10.0.0.2"]}
    headers = [(b"host", b"x"), *((b"x-forwarded-for", line) for line in forwarded)]
    scope = {"client": (peer, 1234) if peer else None, "headers": headers}
    assert address_of(scope) == address
