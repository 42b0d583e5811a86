"""Blocking database work for the event loop: a bounded pool of threads, and a deadline for each.

A thread keeps its connection only where Django's settings say so (SQLite); with PostgreSQL's pool
the connection goes back after each piece of work.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections

from notifications.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
"""Reads and session writes of a process that run at once; more wait for a thread."""

DEADLINE = 5.0
"""Seconds until work is given up; PostgreSQL's statement_timeout frees the thread by then."""


@lru_cache(maxsize=2)
def _executor_of(pid: int, name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix=name)


async def in_database(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking ORM work in a thread and return its result.

    Raises Unavailable when the database cannot be reached or does not answer within DEADLINE;
    work that was given up may still have taken effect.
    """
    return await _within(DEADLINE, "database", lambda: _with_connection(work, *args, **kwargs))


async def in_database_apart(
    work: Callable[[], T], *, within: float, late: Callable[[T], None]
) -> T:
    """The same for what comes in storms, as when all clients authenticate again after a restart.

    It waits in a line of its own, for as many threads of its own. So it holds up neither live
    delivery nor what those wait for who are in already.
    within: seconds until it is given up. late: called with the result that came after that.
    """
    loop = asyncio.get_running_loop()
    executor = _executor_of(os.getpid(), "apart")
    future = loop.run_in_executor(executor, partial(_with_connection, work))

    def ended(_: object) -> None:
        if not future.cancelled() and future.exception() is None:
            late(future.result())

    try:
        done, _ = await asyncio.wait([future], timeout=within)
    except asyncio.CancelledError:
        future.add_done_callback(ended)
        raise
    if not done:
        future.add_done_callback(ended)
        raise _away()
    try:
        return future.result()
    except (DatabaseError, InterfaceError) as error:
        raise _away() from error


async def _within(deadline: float, executor: str, work: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline):
            return await loop.run_in_executor(_executor_of(os.getpid(), executor), work)
    except (TimeoutError, DatabaseError, InterfaceError) as error:
        raise _away() from error


def _away() -> Unavailable:
    return Unavailable("The database does not answer now. Try again shortly.", retry_after=1000)


async def in_background(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run long database work (a sweep) in a thread of its own, without a deadline as a whole.

    PostgreSQL's statement_timeout and SQLite's busy timeout bound each of its statements. Raises
    Unavailable when the database cannot be reached.
    """
    try:
        return await asyncio.to_thread(lambda: _with_connection(work, *args, **kwargs))
    except (DatabaseError, InterfaceError) as error:
        raise Unavailable("The database does not answer now.", retry_after=1000) from error


def _with_connection(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return work(*args, **kwargs)
    finally:
        close_old_connections()
