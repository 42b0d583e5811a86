"""The queue before the writer: its bounds, its shares, and what is taken together."""

import asyncio
import threading

import pytest

from notifications.errors import Overloaded, RateLimited
from notifications.log.append_queue import ENOUGH, AppendQueue, Ticket
from tests.records import publication


def ticket(size: int = 1, *, publisher: str = "a", payload: object = None) -> Ticket:
    return Ticket([publication("t", payload, publisher=publisher)] * size)


def test_one_publisher_cannot_take_all_of_it() -> None:
    queue = AppendQueue(bound=100)
    queue.open()
    for _ in range(50):
        queue.put(ticket())
    with pytest.raises(RateLimited) as limited:
        queue.put(ticket())
    assert limited.value.retry_after
    queue.put(ticket(25, publisher="b"))
    with pytest.raises(Overloaded) as overloaded:
        queue.put(ticket(26, publisher="c"))
    assert overloaded.value.retry_after
    assert queue.waiting == 75


def test_bytes_are_bounded_and_shared_too() -> None:
    queue = AppendQueue(most_bytes=1000)
    queue.open()
    queue.put(ticket(payload="x" * 498))
    with pytest.raises(RateLimited):
        queue.put(ticket(payload="x"))
    with pytest.raises(Overloaded):
        queue.put(ticket(publisher="b", payload="x" * 499))
    assert queue.waiting_bytes == 500
    assert len(queue.take()) == 1
    assert (queue.waiting, queue.waiting_bytes) == (0, 0)
    queue.put(ticket(payload="x" * 900))


def test_what_is_refused_by_one_bound_is_counted_by_neither() -> None:
    queue = AppendQueue(bound=10, most_bytes=10)
    with pytest.raises(Overloaded):
        queue.put(ticket(payload="x" * 20))
    assert (queue.waiting, queue.waiting_bytes) == (0, 0)


def test_what_is_withdrawn_makes_room_at_once_and_is_passed_over() -> None:
    queue = AppendQueue(bound=4)
    queue.open()
    first, second = ticket(2), ticket(2, publisher="b")
    queue.put(first)
    queue.put(second)
    assert queue.withdraw(first)
    assert queue.withdraw(first), "it stays withdrawn"
    assert not first.publications, "it holds no memory that nothing counts any more"
    third = ticket(2, publisher="c")
    queue.put(third)
    assert queue.take() == [second, third]
    assert not queue.withdraw(second), "the writer has it"
    assert queue.waiting == 0


def test_a_group_is_bounded_in_number_and_bytes() -> None:
    queue = AppendQueue()
    queue.open()
    small, large, last = ticket(), ticket(payload="x" * 100), ticket()
    for one in (small, large, last):
        queue.put(one)
    assert queue.take(most_bytes=50) == [small]
    assert queue.take(most_bytes=50) == [large], "one is always taken"
    assert queue.take(most=1) == [last]


def test_flushing_waits_for_what_was_taken_and_passes_over_what_was_withdrawn() -> None:
    queue = AppendQueue()
    assert queue.put(ticket()), "there is nobody to take it"
    assert queue.open()
    assert not queue.open()
    assert not queue.flush(0)
    queue.take()
    assert not queue.flush(0)
    queue.done()
    assert queue.flush(0)
    gone = ticket()
    queue.put(gone)
    queue.withdraw(gone)
    taker = threading.Thread(target=queue.take, daemon=True)
    taker.start()
    assert queue.flush(10)
    queue.close()
    taker.join(10)
    assert not taker.is_alive()
    assert queue.put(ticket()), "nobody takes any more"


async def test_a_loop_that_died_before_it_woke_the_writer_wakes_nobody_for_ever() -> None:
    queue = AppendQueue()
    queue.open()
    taken: list[int] = []

    def take() -> None:
        while group := queue.take():
            taken.append(len(group))
            queue.done()

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    while not queue._is_idle:
        await asyncio.sleep(0.001)
    dead = asyncio.new_event_loop()
    queue.put(Ticket([publication("t")], dead))
    dead.close()
    queue.put(Ticket([publication("t")], asyncio.get_running_loop()))
    assert await asyncio.to_thread(queue.flush, 10)
    assert taken == [2]
    queue.close()
    await asyncio.to_thread(taker.join, 10)


async def test_when_enough_waits_the_writer_is_not_left_to_the_next_turn_of_the_loop() -> None:
    queue = AppendQueue()
    queue.open()
    taken = threading.Event()

    def take() -> None:
        queue.take()
        taken.set()

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    while not queue._is_idle:
        await asyncio.sleep(0.001)
    loop = asyncio.get_running_loop()
    queue.put(Ticket([publication("t")], loop))
    assert not taken.wait(0.05), "the loop has not come so far"
    queue.put(Ticket([publication("t")] * ENOUGH, loop))
    assert taken.wait(10), "without a turn of the loop"
    taker.join(10)
