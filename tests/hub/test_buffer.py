"""A connection's buffer and subscriber: order, bounds, holding back."""

import asyncio
from typing import Any

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
        self.subscriber = Subscriber(self.buffer, bound=bound)

    def drain(self) -> list[str]:
        taken: list[Any] = []
        while (frame := self.buffer.pop()) is not None:
            taken.append(frame.text.strip())
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


def test_held_messages_follow_in_order_when_released() -> None:
    watched = Watched(100)
    watched.subscriber.hold()
    watched.subscriber.deliver("t", frame("1", 1))
    watched.subscriber.deliver("t", frame("2", 1))
    assert watched.drain() == []
    assert watched.subscriber.held
    watched.buffer.push(frame("subscribed", 1))
    watched.subscriber.release()
    assert watched.drain() == ["subscribed", "1", "2"]
    assert watched.subscriber.delivered == 2


def test_only_what_is_still_wanted_follows() -> None:
    watched = Watched(100)
    watched.subscriber.hold()
    watched.subscriber.deliver("kept", frame("1", 1))
    watched.subscriber.deliver("refused", frame("2", 1))
    watched.subscriber.release(wanted=lambda topic: topic == "kept")
    assert watched.drain() == ["1"]


def test_a_closed_subscriber_takes_nothing_and_lets_go() -> None:
    watched = Watched(100)
    watched.subscriber.hold()
    watched.subscriber.deliver("t", frame("1", 1))
    watched.subscriber.close()
    watched.subscriber.release()
    watched.subscriber.deliver("t", frame("2", 1))
    assert watched.drain() == []


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


def test_two_holds_need_two_releases() -> None:
    watched = Watched(100)
    watched.subscriber.hold()
    watched.subscriber.hold()
    watched.subscriber.deliver("t", frame("1", 1))
    watched.subscriber.release()
    assert watched.drain() == []
    watched.subscriber.release()
    assert watched.drain() == ["1"]


def test_what_is_held_is_bounded_too() -> None:
    watched = Watched(10)
    watched.subscriber.hold()
    for _ in range(3):
        watched.subscriber.deliver("t", frame("x", 5))
    assert watched.calls == ["overflow"]
    watched.subscriber.release()
    assert watched.drain() == []
