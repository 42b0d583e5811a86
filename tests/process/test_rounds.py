"""Rounds: everybody is visited once, a part at a time, on one timer."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from notifications.process.rounds import PARTS, Rounds

WAIT = 30.0


class Guest:
    """Counts its visits."""

    def __init__(self, visits: Counter[int], number: int) -> None:
        self.visits = visits
        self.number = number

    def check_deadlines(self, now: float) -> None:
        assert now <= asyncio.get_running_loop().time()
        self.visits[self.number] += 1
        if self.number == 0:
            raise RuntimeError("a defect of one")


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not done():
            await asyncio.sleep(0.001)


async def test_each_is_visited_as_often_as_the_others_whatever_one_does() -> None:
    visits: Counter[int] = Counter()
    rounds = Rounds(asyncio.get_running_loop(), heartbeat=0.02)
    guests = [Guest(visits, number) for number in range(200)]
    for guest in guests:
        rounds.add(guest)
    rounds.start()
    await until(lambda: len(visits) == 200 and min(visits.values()) >= 3)
    rounds.stop()
    assert max(visits.values()) - min(visits.values()) <= 1
    seen = visits.copy()
    await asyncio.sleep(0.05)
    assert visits == seen, "stopped"


async def test_who_left_is_visited_no_more() -> None:
    visits: Counter[int] = Counter()
    rounds = Rounds(asyncio.get_running_loop(), heartbeat=0.02)
    leaves, stays = Guest(visits, 1), Guest(visits, 2)
    rounds.add(leaves)
    rounds.add(stays)
    rounds.remove(leaves)
    rounds.start()
    await until(lambda: visits[2] >= 2)
    rounds.stop()
    assert visits[1] == 0


async def test_a_part_is_visited_at_each_tick() -> None:
    visits: Counter[int] = Counter()
    loop = asyncio.get_running_loop()
    rounds = Rounds(loop, heartbeat=0.02)
    for number in range(1, 1001):
        rounds.add(Guest(visits, number))
    most = 0
    for _ in range(PARTS):
        before = visits.total()
        rounds._visit()
        rounds.stop()
        most = max(most, visits.total() - before)
    assert visits.total() == 1000
    assert most < 500


async def test_how_late_the_loop_was_is_known_and_forgotten() -> None:
    rounds = Rounds(asyncio.get_running_loop(), heartbeat=0.02)
    rounds.start()
    await until(lambda: rounds._next > 1)
    time.sleep(0.3)  # noqa: ASYNC251  # whatever holds the loop up
    await until(lambda: rounds.lag > 0.25)
    await until(lambda: rounds.lag < 0.1)
    rounds.stop()
