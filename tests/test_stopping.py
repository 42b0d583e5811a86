"""Background tasks end, also when a library loses their cancellation."""

import asyncio
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from notifications import stopping
from notifications.bus.bus import Bus
from notifications.bus.hints import hints_of
from notifications.stopping import stop_tasks
from tests.records import record


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "AGAIN_AFTER", 0.01)


async def stubborn(times: int) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_that_loses_cancellations_ends(times: int) -> None:
    tasks = [asyncio.create_task(stubborn(times)), asyncio.create_task(asyncio.sleep(3600))]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await stop_tasks(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_never_ends_is_left_behind_and_named() -> None:
    task = asyncio.create_task(stubborn(stopping.ATTEMPTS), name="endless")
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await stop_tasks([task])
    assert not task.done()


async def test_none_and_those_that_failed() -> None:
    async def fail() -> None:
        raise ValueError

    failed = asyncio.create_task(fail())
    await asyncio.wait([failed])
    await stop_tasks([failed])
    await stop_tasks([])


class LosesACancellation(InMemoryChannelLayer):  # type: ignore[misc]
    """Its group_send goes on as `asyncio.wait_for` does when a cancellation comes too late."""

    sending = False

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sending = True
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            await super().group_send(group, message)


async def test_a_bus_stops_though_its_layer_loses_a_cancellation() -> None:
    layer = LosesACancellation()
    bus = Bus(layer, on_hint=lambda hint: None, on_control=lambda control: None)
    await bus.start()
    bus.announce(hints_of([record(1)], epoch="x"))
    async with asyncio.timeout(30):
        while not layer.sending:
            await asyncio.sleep(0)
        await bus.stop()
