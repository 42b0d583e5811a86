"""A connection's buffer and subscriber: order, bounds, expiry, room."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from notifications import metrics
from notifications.hub import buffer as buffer_module
from notifications.hub import encoded
from notifications.hub.buffer import MESSAGES, Buffer
from notifications.hub.encoded import Encoded, framed_array
from notifications.hub.subscriber import Subscriber
from notifications.topics.handling import Overflow, Window


def frame(text: str, size: int) -> Encoded:
    return Encoded(text.ljust(size).encode())


class Watched:
    """A buffer whose calls are recorded."""

    def __init__(self, bound: int) -> None:
        self.calls: list[str] = []
        self.buffer = Buffer(
            bound,
            wake=lambda within: self.calls.append("wake" if not within else f"within {within}"),
            overflow=lambda: self.calls.append("overflow"),
            dropped=lambda topic, count: self.calls.append(f"dropped {count} of {topic}"),
        )
        self.subscriber = Subscriber(self.buffer)

    def drain(self) -> list[str]:
        taken: list[Any] = []
        while (frame := self.buffer.pop()) is not None:
            taken.append(frame.data.decode().strip())
        return taken


def test_frames_leave_in_order() -> None:
    watched = Watched(100)
    for name in "abc":
        assert watched.buffer.push(frame(name, 10))
    assert (watched.buffer.size, len(watched.buffer)) == (30, 3)
    assert watched.drain() == ["a", "b", "c"]
    assert watched.buffer.size == 0
    assert watched.calls == ["wake"] * 3


def test_over_the_bound_everything_is_let_go_once() -> None:
    watched = Watched(25)
    watched.buffer.push(frame("a", 10))
    watched.buffer.push(frame("b", 15))
    assert not watched.buffer.push(frame("c", 1))
    assert not watched.buffer.push(frame("d", 1))
    assert watched.calls == ["wake", "wake", "overflow"]
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
        (first,) = watched.buffer.peek()
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


# --- What gives way -------------------------------------------------------------------------------


def passing(text: str, overflow: Overflow, topic: str = "t") -> Encoded:
    """A message of an ephemeral topic, of ten bytes."""
    return Encoded(text.ljust(10).encode(), topic=topic, overflow=overflow)


def test_the_oldest_give_way_and_it_is_told_when_there_is_room() -> None:
    watched = Watched(40)
    watched.buffer.push(frame("kept", 10))
    for number in range(5):
        watched.buffer.push(passing(f"p{number}", Overflow.DROP_OLDEST))
    assert "dropped" not in " ".join(watched.calls)
    assert watched.drain() == ["kept", "p2", "p3", "p4"]
    assert watched.calls.count("dropped 2 of t") == 1
    assert "overflow" not in watched.calls


def test_the_newest_give_way() -> None:
    watched = Watched(30)
    taken = [watched.buffer.push(passing(f"p{n}", Overflow.DROP_NEWEST)) for n in range(5)]
    assert taken == [True, True, True, False, False]
    assert watched.drain() == ["p0", "p1", "p2"]
    assert watched.calls.count("dropped 2 of t") == 1


def test_what_is_on_its_way_does_not_give_way() -> None:
    watched = Watched(30)
    for number in range(3):
        watched.buffer.push(passing(f"p{number}", Overflow.CONFLATE))
    going = watched.buffer.peek()
    for number in range(3, 6):
        watched.buffer.push(passing(f"p{number}", Overflow.CONFLATE))
    watched.buffer.sent(going)
    assert watched.drain() == ["p5"]
    assert watched.calls.count("dropped 4 of t") == 1


def test_only_the_latest_of_each_topic_is_kept() -> None:
    watched = Watched(60)
    for number in range(4):
        for topic in ("a", "b"):
            watched.buffer.push(passing(f"{topic}{number}", Overflow.CONFLATE, topic))
    assert watched.drain() == ["a3", "b3"]
    assert watched.calls.count("dropped 6 of None") == 1
    # Once nothing waits any more, all of them are taken again.
    for number in range(3):
        watched.buffer.push(passing(f"a{number}", Overflow.CONFLATE, "a"))
    assert watched.drain() == ["a0", "a1", "a2"]


def test_conflating_more_topics_than_fit_drops_the_oldest() -> None:
    watched = Watched(30)
    for topic in "abcdea":
        watched.buffer.push(passing(topic, Overflow.CONFLATE, topic))
    assert watched.drain() == ["d", "e", "a"]
    assert watched.calls.count("dropped 3 of None") == 1


def test_topics_that_have_left_are_not_remembered_while_others_wait() -> None:
    watched = Watched(30)
    for number in range(200):
        watched.buffer.push(passing("p", Overflow.CONFLATE, f"t{number}"))
        if number % 3 == 0:
            watched.buffer.pop()
    assert watched.buffer._latest is not None
    assert len(watched.buffer._latest) <= 3


def test_ephemeral_messages_give_way_to_those_of_the_log() -> None:
    watched = Watched(30)
    for overflow in (Overflow.DROP_NEWEST, Overflow.CONFLATE, Overflow.DROP_OLDEST):
        watched.buffer.push(passing(overflow, overflow))
    assert watched.buffer.push(frame("kept", 25))
    assert watched.drain() == ["kept"]
    assert watched.calls.count("dropped 3 of t") == 1


def test_among_those_of_the_log_only_nothing_is_dropped() -> None:
    watched = Watched(30)
    watched.buffer.push(frame("a", 15))
    watched.buffer.push(passing("p", Overflow.DROP_OLDEST))
    assert not watched.buffer.push(frame("b", 16))
    assert watched.calls[-1] == "overflow"
    watched = Watched(30)
    watched.buffer.push(frame("a", 25))
    assert not watched.buffer.push(passing("p", Overflow.DROP_OLDEST))
    assert watched.drain() == ["a"], "one that may be dropped closes nothing"
    assert watched.calls[-1] == "dropped 1 of t"


def test_messages_are_bounded_in_number_too() -> None:
    watched = Watched(10**9)
    for _ in range(MESSAGES):
        watched.buffer.push(frame("", 1))
    assert not watched.buffer.has_room
    assert not watched.buffer.push(frame("", 1))
    assert watched.calls[-1] == "overflow"


def test_what_waits_is_let_go_of_when_it_has_left() -> None:
    watched = Watched(100)
    watched.buffer.push(passing("p", Overflow.DROP_OLDEST))
    watched.drain()
    assert watched.buffer._frames is None
    assert watched.buffer._droppable is None


def test_a_window_says_within_what_time_to_write() -> None:
    watched = Watched(100)
    watched.buffer.push(frame("a", 1), Window(3, 0.5))
    watched.buffer.push(frame("b", 1), Window(3, 0.5))
    watched.buffer.push(frame("c", 1), Window(3, 0.5))
    assert watched.calls == ["within 0.5", "within 0.5", "wake"]


def test_those_that_gave_way_are_not_looked_for_when_time_passes() -> None:
    watched = Watched(30)
    for name in "abcd":
        frame = Encoded(name.ljust(10).encode(), expires_at=2**52, overflow=Overflow.DROP_OLDEST)
        watched.buffer.push(frame)
    assert (len(watched.buffer), watched.buffer._expiring) == (3, 3)
    watched.buffer.push(Encoded(b"forever".ljust(20)))
    assert (len(watched.buffer), watched.buffer._expiring) == (2, 1)


@pytest.mark.parametrize("arrays", [1, 5, 50])
def test_what_waits_for_many_is_framed_once(arrays: int) -> None:
    frames = [Encoded(b'"%d"' % number) for number in range(20)]
    framed = metrics.frames_framed.labels("json")._value.get
    before = framed()
    taken = []
    for _ in range(10):
        buffer = Watched(10_000).buffer
        buffer.arrays = arrays
        for frame in frames:
            buffer.push(frame)
        taken.append(b"".join(buffer.take(10_000)))
    assert len(set(taken)) == 1
    assert framed() - before == -(-len(frames) // arrays)


def test_arrays_of_other_frames_are_other_arrays() -> None:
    first, second, third = (Encoded(b'"%d"' % number) for number in range(3))
    assert framed_array([first, second]) == b'\x81\x09["0","1"]'
    assert framed_array([first, third]) == b'\x81\x09["0","2"]'
    assert framed_array([first, second]) == b'\x81\x09["0","1"]'
    big = [Encoded(b'"%b"' % (b"x" * 30_000)) for _ in range(100)]
    for one, two in pairwise(big):
        framed_array([one, two])
    assert encoded._arrays._size <= encoded.KEPT_BYTES
    assert encoded._arrays._size == sum(len(kept[1]) for kept in encoded._arrays._kept.values())
