"""The bus over a real in-process layer, and over layers that fail in every way."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from notifications.bus import Bus, Hint, hints_of
from notifications.bus import bus as bus_module
from notifications.bus.hints import (
    ALL_PARTITIONS,
    HINT_BYTES,
    from_envelope,
    group_of,
    take_envelope,
    to_envelope,
)
from notifications.log.records import Record
from tests.backends import REDIS
from tests.records import record

WAIT = 30.0


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
    layer = RedisPubSubChannelLayer(hosts=[REDIS], prefix=secrets.token_hex(8))
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


async def test_what_is_followed_while_another_is_left_keeps_its_groups() -> None:
    class Slow(InMemoryChannelLayer):  # type: ignore[misc]  # Channels has no types
        leaving = asyncio.Event()
        go_on = asyncio.Event()

        async def group_discard(self, group: str, channel: str) -> None:
            self.leaving.set()
            await self.go_on.wait()
            await super().group_discard(group, channel)

    layer = Slow(capacity=1000)
    bus, _ = make(layer)
    await bus.start()
    await bus.follow(1)
    leaving = asyncio.create_task(bus.unfollow(1))
    async with asyncio.timeout(WAIT):
        await layer.leaving.wait()
    await bus.follow(2)
    layer.go_on.set()
    await leaving
    assert set(layer.groups) >= {group_of(2), ALL_PARTITIONS}
    assert group_of(1) not in layer.groups
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
    group = group_of(0)
    for garbage in ({"type": "log.appended"}, {"type": "nonsense"}, {"type": "control"}):
        await layer.group_send(group, garbage)
    bus.announce(hints_of([record(1)], epoch="x"))
    await ears.until(hints=1)
    assert ears.hints[0].first == 1
    await bus.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.001)


class Noting(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer that notes what is sent, and waits at a gate where there is one."""

    def __init__(self) -> None:
        super().__init__(capacity=1000)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.gate: asyncio.Event | None = None

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"] != "control":
            self.sent.append((group, message))
        if self.gate is not None:
            await self.gate.wait()
        await super().group_send(group, message)


async def test_what_waits_goes_out_together() -> None:
    layer = Noting()
    bus, ears = make(layer)
    await bus.start()
    for partition in (1, 2):
        await bus.follow(partition)
    of_three = [record(1, partition=1), record(1, partition=2), record(1, partition=3)]
    bus.announce(hints_of(of_three, epoch="x"))
    await ears.until(hints=2)
    assert [(hint.partition, hint.first) for hint in ears.hints] == [(1, 1), (2, 1)]
    assert [hint.decode() for hint in ears.hints] == [of_three[:1], of_three[1:2]]
    bus.announce(hints_of([record(2, partition=1)], epoch="x"))
    bus.announce(hints_of([record(3, partition=1)], epoch="x"))
    await ears.until(hints=4)
    bus.announce(hints_of([record(4, partition=1)], epoch="x"))
    await ears.until(hints=5)
    assert [hint.first for hint in ears.hints[2:]] == [2, 3, 4]
    assert [(group, message["type"]) for group, message in layer.sent] == [
        (ALL_PARTITIONS, "log.bundle"),
        (group_of(1), "log.bundle"),
        (group_of(1), "log.appended"),
    ]
    await bus.stop()


async def test_a_process_that_follows_nothing_is_sent_nothing() -> None:
    layer = Noting()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(1)
    await bus.follow(2)
    await bus.unfollow(1)
    bus.announce(hints_of([record(1, partition=1), record(1, partition=2)], epoch="x"))
    await ears.until(hints=1)
    await bus.unfollow(2)
    assert {group for group, members in layer.groups.items() if members} == {
        bus_module.CONTROL_GROUP
    }
    bus.announce(hints_of([record(2, partition=1), record(2, partition=2)], epoch="x"))
    await bus.send_control({"after": "it"})
    await ears.until(controls=1)
    assert [(hint.partition, hint.first) for hint in ears.hints] == [(2, 1)]
    await bus.stop()


def test_an_envelope_is_bounded() -> None:
    big = b'"' + b"x" * (HINT_BYTES // 2) + b'"'
    small = [record(n, partition=n) for n in range(3)]
    waiting = deque(
        hints_of([*small, record(1, partition=7, payload=big), record(9, partition=8)], epoch="x")
    )
    waiting.extend(hints_of([record(2, partition=7, payload=big)], epoch="x"))
    sizes = []
    while waiting:
        sizes.append(len(take_envelope(waiting)[2]))
    assert sizes == [5, 1]


async def test_a_layer_that_hangs_keeps_nothing_waiting_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus_module, "SEND_TIMEOUT", 0.02)
    monkeypatch.setattr(bus_module, "RETRY_PAUSE", 0.01)
    layer = Noting()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(0)
    layer.gate = asyncio.Event()
    bus.announce(hints_of([record(1)], epoch="x"))
    while not layer.sent:
        await asyncio.sleep(0)
    bus.announce(hints_of([record(2), record(3)], epoch="x"))
    await until(lambda: bus.is_behind)
    assert not bus._to_send, "it is in the log, and older than a look at it"
    assert (bus._bytes_to_send, len(layer.sent)) == (0, 1)
    layer.gate.set()
    await until(lambda: not bus.is_behind)  # found without anybody publishing
    bus.announce(hints_of([record(4)], epoch="x"))
    await ears.until(hints=1)
    assert ears.hints[-1].first == 4
    await bus.stop()


async def test_the_queue_of_hints_is_bounded_in_bytes_and_says_when_it_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = next(hints_of([record(1)], epoch="x"))
    monkeypatch.setattr(bus_module, "SEND_BYTES", 4 * len(one.records))
    bus, _ = make(Noting())
    behind = []
    for _ in range(8):
        bus.announce([one])
        behind.append(bus.is_behind)
    assert behind == [False, False, *[True] * 6]
    assert len(bus._to_send) == 4
    assert bus._bytes_to_send == 4 * len(one.records)


@pytest.mark.parametrize("hints", [None, "x", [[1, 2, 3]], [[1, 2, 3, "x", 5]], [[0, 1, 1, 7]]])
async def test_garbage_in_a_bundle_is_survived(hints: Any) -> None:
    layer = InMemoryChannelLayer()
    bus, ears = make(layer)
    await bus.start()
    await bus.follow(0)
    await layer.group_send(ALL_PARTITIONS, {"type": "log.bundle", "hints": hints})
    await bus.send_control({"after": "it"})
    await ears.until(controls=1)
    assert ears.hints == []
    await bus.stop()
