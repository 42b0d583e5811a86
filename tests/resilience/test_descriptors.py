"""Room for sockets is made as far as the operating system lets it."""

import resource

import pytest

from notifications.resilience.descriptors import SPARE, make_room

Limits = tuple[int, int]
ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "sockets", "then", "room"),
    [
        ((1024, 524_288), 10_000, (10_000 + SPARE, 524_288), 10_000),
        ((1024, ANY), 10_000, (10_000 + SPARE, ANY), 10_000),
        ((1024, 4096), 10_000, (4096, 4096), 4096 - SPARE),
        ((65_536, 65_536), 10_000, (65_536, 65_536), 10_000),
        ((ANY, ANY), 10_000, (ANY, ANY), 10_000),
        ((100, 100), 10_000, (100, 100), 0),
    ],
    ids=str,
)
def test_the_bound_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, sockets: int, then: Limits, room: int
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: now.append(given))
    assert make_room(sockets) == room
    assert now[-1] == then
