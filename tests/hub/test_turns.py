"""Reads for those who catch up: few at once, in a line of bounded length."""

import asyncio
import threading

import pytest
from prometheus_client import REGISTRY

from notifications.errors import Unavailable
from notifications.hub import turns as turns_module
from notifications.hub.turns import AT_ONCE, Turns

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 30.0


class Work:
    """Blocking work that goes on until it is let go, and counts who does it at once."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.begun = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.begun += 1
        assert self.going.wait(WAIT)
        return "done"


def waiting() -> float:
    return REGISTRY.get_sample_value("bellwether_replay_reads_waiting") or 0.0


def refused() -> float:
    return REGISTRY.get_sample_value("bellwether_replay_reads_refused_total") or 0.0


async def test_some_read_at_once_and_the_others_wait() -> None:
    turns, work = Turns(), Work()
    before = waiting()
    reading = [asyncio.create_task(turns.read(work)) for _ in range(AT_ONCE + 3)]
    async with asyncio.timeout(WAIT):
        while work.begun < AT_ONCE or waiting() - before < 3:
            await asyncio.sleep(0.001)
    assert work.begun == AT_ONCE
    work.going.set()
    assert await asyncio.gather(*reading) == ["done"] * (AT_ONCE + 3)
    assert waiting() == before


async def test_the_line_is_bounded_in_length_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "LINE", 1)
    monkeypatch.setattr(turns_module, "TURN_DEADLINE", 0.05)
    turns, work = Turns(), Work()
    before = refused()
    reading = [asyncio.create_task(turns.read(work)) for _ in range(AT_ONCE)]
    async with asyncio.timeout(WAIT):
        while work.begun < AT_ONCE:
            await asyncio.sleep(0.001)
    waits = asyncio.create_task(turns.read(work))
    await asyncio.sleep(0)
    assert turns.is_full
    with pytest.raises(Unavailable) as error:
        await turns.read(work)
    assert error.value.retry_after
    with pytest.raises(Unavailable):
        await waits
    assert refused() - before == 2
    work.going.set()
    assert await asyncio.gather(*reading) == ["done"] * AT_ONCE
    assert await turns.read(work) == "done", "no turn was lost"
