"""A connection's buffer and subscriber: order, bounds, expiry, room."""

import asyncio
from typing import Any

import pytest

from notifications.hub import buffer as buffer_module
from notifications.hub.buffer import Buffer, Flusher
from notifications.hub.encoded import Encoded
from notifications.hub.subscriber import Subscriber


def frame(text: str, size: int) -> Encoded:
    return Encoded(text.ljust(size).encode())


class Watched:
    """A buffer whose calls are recorded."""

    def __init__(self, bound: int) -> None:
        self.calls: list[str] = []
        self.buffer = Buffer(
            bound,
            wake=lambda: self.calls.append("wake"),
            overflow=lambda: self.calls.append("overflow"),
        )
        self.subscriber = Subscriber(self.buffer)

    def drain(self) -> list[str]:
        taken: list[Any] = []
        while (frame := self.buffer.pop()) is not None:
            taken.append(frame.data.decode().strip())
        return taken


def test_frames_leave_in_order_and_the_writer_is_woken_once() -> None:
    watched = Watched(100)
    for name in "abc":
        assert watched.buffer.push(frame(name, 10))
    assert (watched.buffer.size, len(watched.buffer)) == (30, 3)
    assert watched.drain() == ["a", "b", "c"]
    assert watched.calls == ["wake"]
    assert watched.buffer.size == 0


def test_over_the_bound_everything_is_let_go_once() -> None:
    watched = Watched(25)
    watched.buffer.push(frame("a", 10))
    watched.buffer.push(frame("b", 15))
    assert not watched.buffer.push(frame("c", 1))
    assert not watched.buffer.push(frame("d", 1))
    assert watched.calls == ["wake", "overflow"]
    assert (watched.drain(), watched.buffer.size) == ([], 0)


def test_a_closed_subscriber_takes_nothing() -> None:
    watched = Watched(100)
    watched.subscriber.give(frame("1", 1))
    watched.subscriber.close()
    watched.subscriber.give(frame("2", 1))
    assert watched.drain() == ["1"]
    assert watched.subscriber.delivered == 1


def expiring(text: str, at: int) -> Encoded:
    return Encoded(text.encode(), expires_at=at)


@pytest.mark.parametrize("way", ["pop", "peek", "take"])
def test_what_expired_while_it_waited_is_let_go(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_module, "now_ms", lambda: 1_000)
    watched = Watched(100)
    for one in (expiring("a", 1_000), frame("b", 1), expiring("c", 1_001), expiring("d", 999)):
        watched.buffer.push(one)
    if way == "take":
        assert [framed[2:] for framed in watched.buffer.take(100)] == [b"b", b"c"]
    elif way == "peek":
        first = watched.buffer.peek()
        assert first is not None
        assert first.data == b"b"
    else:
        assert watched.drain() == ["b", "c"]
    assert watched.buffer.size == (2 if way == "peek" else 0)


async def test_room_is_waited_for() -> None:
    watched = Watched(10)
    assert await watched.buffer.room(within=1)
    watched.buffer.push(frame("a", 4))
    watched.buffer.push(frame("b", 4))
    waiting = asyncio.create_task(watched.buffer.room(within=10))
    await asyncio.sleep(0)
    assert not waiting.done()
    watched.buffer.pop()
    assert await waiting


async def test_who_makes_no_room_in_time_is_a_slow_consumer() -> None:
    watched = Watched(10)
    watched.buffer.push(frame("a", 8))
    assert not await watched.buffer.room(within=0.01)
    assert watched.calls == ["wake", "overflow"]
    assert not await watched.buffer.room(within=0.01)


async def test_an_overrun_ends_the_waiting() -> None:
    watched = Watched(10)
    watched.buffer.push(frame("a", 8))
    waiting = asyncio.create_task(watched.buffer.room(within=10))
    await asyncio.sleep(0)
    watched.buffer.overrun()
    assert not await waiting


def test_a_flush_that_fails_stops_no_other() -> None:
    flushed: list[str] = []
    loop = asyncio.new_event_loop()
    flusher = Flusher(loop)

    def fail() -> None:
        raise RuntimeError("broken")

    flusher.add(fail)
    flusher.add(lambda: flushed.append("other"))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert flushed == ["other"]
