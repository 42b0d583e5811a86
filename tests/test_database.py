"""Blocking database work: deadlines, and two lines of it that do not wait for each other."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from notifications import database
from notifications.database import THREADS, in_database, in_database_apart
from notifications.errors import Unavailable

# The threads give back connections that other tests opened in them.
pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 10.0
Line = Callable[..., Coroutine[Any, Any, Any]]


async def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    return await in_database_apart(
        lambda: work(*arguments), within=database.DEADLINE, late=lambda _: None
    )


@pytest.mark.parametrize(("crowded", "other"), [(apart, in_database), (in_database, apart)])
async def test_a_crowd_in_one_line_does_not_hold_up_the_other(crowded: Line, other: Line) -> None:
    go = threading.Event()
    crowd = [asyncio.create_task(crowded(go.wait, WAIT)) for _ in range(THREADS * 3)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(WAIT):
            assert await other(lambda: "done") == "done"
        assert not any(task.done() for task in crowd)
    finally:
        go.set()
    assert await asyncio.gather(*crowd) == [True] * len(crowd)


@pytest.mark.parametrize("line", [in_database, apart])
async def test_work_that_takes_too_long_is_given_up(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "DEADLINE", 0.02)
    go = threading.Event()
    try:
        with pytest.raises(Unavailable):
            await line(go.wait, WAIT)
    finally:
        go.set()
