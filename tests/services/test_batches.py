"""Requests that share a batch: order, bounds, deadlines, failures; and who fails alone."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from notifications.errors import (
    BadFrame,
    InternalError,
    NotificationError,
    Overloaded,
    Unavailable,
)
from notifications.services.batches import CONFLICTS, Gathering, each_for_itself

# The threads give back connections that other tests opened in them.
pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 30.0


class Gathered(Gathering[int, str]):
    """Answers numbers with texts; waits in its thread until it may go on."""

    def __init__(self, **options: Any) -> None:
        self.batches: list[list[int]] = []
        self.unwanted: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        registry = CollectorRegistry()
        self.refused = Counter("refused", "", registry=registry)
        super().__init__(
            self.answer,
            unwanted=self.unwanted.append,
            waiting=Gauge("waiting", "", registry=registry),
            batch_size=Histogram("size", "", registry=registry),
            refused=self.refused,
            **{"size": 100, "bound": 100, "deadline": WAIT} | options,
        )

    def answer(self, batch: Sequence[int]) -> list[str | NotificationError]:
        self.batches.append(list(batch))
        assert self.go.wait(WAIT)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return [f"got {number}" if number >= 0 else BadFrame("below zero") for number in batch]

    def together(self, *numbers: int) -> list["asyncio.Task[str]"]:
        return [asyncio.create_task(self.ask(number)) for number in numbers]


async def until(done: Any) -> None:
    async with asyncio.timeout(WAIT):
        while not done():
            await asyncio.sleep(0.001)


async def test_what_comes_meanwhile_is_the_next_batch_in_order() -> None:
    gathered = Gathered()
    gathered.go.clear()
    first = gathered.together(0)
    await until(lambda: gathered.batches)
    later = gathered.together(1, 2, 3)
    await asyncio.sleep(0)
    gathered.go.set()
    assert await asyncio.gather(*first, *later) == ["got 0", "got 1", "got 2", "got 3"]
    assert gathered.batches == [[0], [1, 2, 3]]
    assert await gathered.ask(4) == "got 4", "it begins again when it had nothing to do"


async def test_one_that_is_refused_is_refused_alone() -> None:
    answers = await asyncio.gather(*Gathered().together(1, -1, 2), return_exceptions=True)
    assert (answers[0], answers[2]) == ("got 1", "got 2")
    assert isinstance(answers[1], BadFrame)


async def test_a_batch_is_bounded() -> None:
    gathered = Gathered(size=2)
    assert len(await asyncio.gather(*gathered.together(*range(5)))) == 5
    assert gathered.batches == [[0, 1], [2, 3], [4]]


async def test_over_the_bound_who_comes_is_told_to_come_again() -> None:
    gathered = Gathered(bound=2)
    gathered.go.clear()
    tasks = gathered.together(0)
    await until(lambda: gathered.batches)
    tasks += gathered.together(1, 2)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await gathered.ask(3)
    assert refused.value.retry_after
    assert gathered.refused._value.get() == 1
    gathered.go.set()
    assert len(await asyncio.gather(*tasks)) == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OperationalError("away"), Unavailable), (RuntimeError("a defect"), InternalError)],
)
async def test_a_failed_batch_answers_all_and_the_next_goes_on(
    error: Exception, expected: type[NotificationError]
) -> None:
    gathered = Gathered()
    gathered.error = error
    answers = await asyncio.gather(*gathered.together(1, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [expected, expected]
    assert await gathered.ask(3) == "got 3"


async def test_who_waits_no_more_is_left_out() -> None:
    gathered = Gathered()
    gathered.go.clear()
    (first,) = gathered.together(0)
    await until(lambda: gathered.batches)
    gone, stays = gathered.together(1, 2)
    await asyncio.sleep(0)
    first.cancel()
    gone.cancel()
    gathered.go.set()
    assert await stays == "got 2"
    assert gathered.batches == [[0], [2]]
    assert gathered.unwanted == ["got 0"], "it was done, and somebody may have to undo it"


async def test_each_is_answered_in_time_and_what_comes_later_is_not_lost() -> None:
    gathered = Gathered(deadline=0.05)
    gathered.go.clear()
    early = gathered.together(0)
    await until(lambda: gathered.batches)
    late = gathered.together(1)
    answers = await asyncio.gather(*early, *late, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    gathered.go.set()
    await until(lambda: len(gathered.unwanted) == len(gathered.batches))
    assert "got 0" in gathered.unwanted


async def test_the_end_refuses_who_waits() -> None:
    gathered = Gathered()
    gathered.go.clear()
    tasks = gathered.together(0)
    await until(lambda: gathered.batches)
    tasks += gathered.together(1)
    await asyncio.sleep(0)
    await gathered.stop()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    gathered.go.set()
    await until(lambda: gathered.unwanted == ["got 0"])


# --- each_for_itself ----------------------------------------------------------------------------


class Table:
    """Refuses batches with a bad number in them, like a database. fails: how often each does."""

    def __init__(self, error: Exception, fails: dict[int, int]) -> None:
        self.error = error
        self.fails = fails
        self.calls = 0
        self.written: list[int] = []

    def write(self, batch: Sequence[int]) -> list[int | NotificationError]:
        self.calls += 1
        bad = [number for number in batch if self.fails.get(number, 0)]
        for number in bad:
            self.fails[number] -= 1
        if bad:
            raise self.error
        self.written += batch
        return list(batch)


def test_what_the_database_refuses_fails_alone_and_is_found_by_halves() -> None:
    table = Table(DataError("no"), {13: 10**9})
    answers = each_for_itself(table.write, range(64))
    assert [number for number in range(64) if answers[number] != number] == [13]
    assert isinstance(answers[13], Unavailable)
    assert table.written == [number for number in range(64) if number != 13]
    assert table.calls < 16


@pytest.mark.parametrize("fails", [1, 2, CONFLICTS])
def test_a_conflict_is_tried_again_once_the_other_is_seen(fails: int) -> None:
    table = Table(IntegrityError("conflict"), {1: fails})
    assert each_for_itself(table.write, [0, 1]) == [0, 1]
    assert table.written == [0, 1]


def operational(sqlstate: str) -> OperationalError:
    error = OperationalError("no")
    error.__cause__ = type("Cause", (Exception,), {"sqlstate": sqlstate})()
    return error


def test_a_deadlock_is_tried_again() -> None:
    table = Table(operational("40P01"), {0: 1})
    assert each_for_itself(table.write, [0]) == [0]


def test_a_database_that_is_away_is_not_asked_for_each() -> None:
    table = Table(operational("57P01"), {0: 1})
    with pytest.raises(OperationalError):
        each_for_itself(table.write, [0, 1, 2, 3])
    assert table.calls == 1
