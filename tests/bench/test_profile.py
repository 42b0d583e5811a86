"""Samples are counted for the innermost part that knows a frame."""

import pytest

from bench.profile import part_of, shares

REQUEST = "run (uvicorn/server.py:1);__call__ (notifications/api/lean.py:9)"
BUS = "run (uvicorn/server.py:1);_take (notifications/bus/bus.py:2)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (REQUEST, "request"),
        (f"{REQUEST};loads (json/decoder.py:3)", "request"),
        (f"{REQUEST};append_async (notifications/log/group_commit.py:3)", "log"),
        (f"{BUS};publish (redis/asyncio/client.py:4)", "bus"),
        (f"{BUS};fan_out (notifications/hub/fan_out.py:4)", "delivery"),
        ("wait (threading.py:1)", None),
    ],
)
def test_the_innermost_part_counts(stack: str, part: str | None) -> None:
    assert part_of(stack) == part


def test_shares_are_of_all_samples() -> None:
    assert shares([f"{REQUEST} 6", f"{REQUEST};x (a.py:1) 2", f"{BUS} 1", "wait (y.py:1) 1"]) == {
        "request": 0.8,
        "bus": 0.1,
        "other": 0.1,
    }
