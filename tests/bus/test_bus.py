"""The bus over a real in-process layer, and over layers that fail in every way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from notifications.bus import Bus, Hint, hints_of
from notifications.bus import bus as bus_module
from notifications.bus.bus import group_of
from notifications.bus.hints import HINT_BYTES, from_envelope, to_envelope
from notifications.log.records import Record
from tests.backends import REDIS
from tests.records import record

WAIT = 10.0


class Ears:
    """Notes what a bus hears."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.controls: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def on_hint(self, hint: Hint) -> None:
        self.hints.append(hint)
        self._news.set()

    def on_control(self, message: dict[str, Any]) -> None:
        self.controls.append(message)
        self._news.set()

    async def until(self, *, hints: int = 0, controls: int = 0) -> None:
        async with asyncio.timeout(WAIT):
            while len(self.hints) < hints or len(self.controls) < controls:
                self._news.clear()
                await self._news.wait()


@pytest.fixture(
    params=["memory", pytest.param("redis", marks=[pytest.mark.redis])],
)
async def layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield InMemoryChannelLayer(capacity=1000)
        return
    layer = RedisPubSubChannelLayer(hosts=[REDIS], prefix=request.node.name[:40])
    yield layer
    await layer.flush()


def make(layer: Any) -> tuple[Bus, Ears]:
    ears = Ears()
    return Bus(layer, on_hint=ears.on_hint, on_control=ears.on_control), ears


async def test_hints_reach_every_process_that_follows_the_partition(layer: Any) -> None:
    (one, ears_one), (two, ears_two), (three, ears_three) = make(layer), make(layer), make(layer)
    for bus in (one, two, three):
        await bus.start()
    await one.follow(3)
    await two.follow(3)
    await three.follow(4)
    records = [record(1, partition=3), record(2, partition=3)]
    one.announce(hints_of(records, epoch="x"))
    await ears_one.until(hints=1)
    await ears_two.until(hints=1)
    assert ears_two.hints[0].decode() == records
    await one.send_control({"close": "x"})
    for ears in (ears_one, ears_two, ears_three):
        await ears.until(controls=1)
        assert ears.controls == [{"close": "x"}]
    assert ears_three.hints == []
    for bus in (one, two, three):
        await bus.stop()


async def test_ephemeral_messages_travel_apart_from_the_log(layer: Any) -> None:
    heard: list[list[Record]] = []
    (one, ears), (silent, _) = make(layer), make(layer)
    two = Bus(layer, on_hint=ears.on_hint, on_control=ears.on_control, on_ephemeral=heard.append)
    for bus in (one, two, silent):
        await bus.start()
        await bus.follow(3)
    passing = [record(0, partition=3, id="x"), record(0, partition=3, id="y")]
    one.announce(hints_of([passing[0], record(7, partition=3), passing[1]], epoch="x"))
    await ears.until(hints=2)  # one for each of the two buses that these ears belong to
    assert {(hint.first, hint.last) for hint in ears.hints} == {(7, 7)}
    assert heard == [passing]
    for bus in (one, two, silent):
        await bus.stop()


async def test_garbage_in_an_ephemeral_envelope_is_survived() -> None:
    layer = InMemoryChannelLayer()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(1)
    for records in (b"garbage", None):
        await layer.group_send(group_of(1), {"type": "ephemeral", "records": records})
    await bus.send_control({"after": "it"})
    await ears.until(controls=1)
    assert ears.hints == []
    await bus.stop()


async def test_after_unfollow_nothing_comes() -> None:
    layer = InMemoryChannelLayer()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(1)
    await bus.unfollow(1)
    bus.announce(hints_of([record(1, partition=1)], epoch="x"))
    await bus.send_control({"after": "it"})
    await ears.until(controls=1)
    assert ears.hints == []
    await bus.stop()


def test_a_batch_is_cut_into_hints_by_partition_and_size() -> None:
    big = b'"' + b"x" * (HINT_BYTES // 2) + b'"'
    records = [record(n, partition=1, payload=big) for n in range(1, 5)] + [record(9, partition=2)]
    hints = list(hints_of(records, epoch="x"))
    assert [(hint.partition, hint.first, hint.last) for hint in hints] == [
        (1, 1, 1),
        (1, 2, 2),
        (1, 3, 3),
        (1, 4, 4),
        (2, 9, 9),
    ]
    assert [one for hint in hints for one in hint.decode()] == records
    assert from_envelope(to_envelope(hints[0])) == hints[0]


class FailingLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer that is away until it is told otherwise."""

    away = True

    async def new_channel(self, prefix: str = "x") -> str:
        self.check()
        return str(await super().new_channel(prefix))

    async def group_add(self, group: str, channel: str) -> None:
        self.check()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.check()
        await super().group_send(group, message)

    def check(self) -> None:
        if self.away:
            raise ConnectionError("away")


async def test_a_layer_that_is_away_is_joined_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "RETRY_PAUSE", 0.01)
    layer = FailingLayer()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(1)
    bus.announce(hints_of([record(1, partition=1)], epoch="x"))
    was_healthy = bus.healthy
    layer.away = False
    async with asyncio.timeout(WAIT):
        while not ears.hints:
            bus.announce(hints_of([record(2, partition=1)], epoch="x"))
            await asyncio.sleep(0.01)
    assert (was_healthy, bus.healthy) == (False, True)
    assert ears.hints[0].first == 2
    await bus.stop()


async def test_a_layer_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "SEND_TIMEOUT", 0.01)

    class HangingLayer(InMemoryChannelLayer):  # type: ignore[misc]
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            await asyncio.Event().wait()

    bus, _ = make(HangingLayer())
    await bus.start()
    async with asyncio.timeout(WAIT):
        await bus.send_control({})
    assert not bus.healthy
    await bus.stop()


async def test_the_queue_of_hints_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "SEND_BOUND", 3)
    bus, ears = make(InMemoryChannelLayer())
    await bus.start()
    await bus.follow(0)
    for offset in range(1, 11):
        bus.announce(hints_of([record(offset)], epoch="x"))
    await ears.until(hints=3)
    assert [hint.first for hint in ears.hints] == [8, 9, 10]
    await bus.stop()


async def test_garbage_on_the_bus_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(0)
    group = bus_module.group_of(0)
    for garbage in ({"type": "log.appended"}, {"type": "nonsense"}, {"type": "control"}):
        await layer.group_send(group, garbage)
    bus.announce(hints_of([record(1)], epoch="x"))
    await ears.until(hints=1)
    assert ears.hints[0].first == 1
    await bus.stop()
