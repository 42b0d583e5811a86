"""The tasks of a client: their errors are told, and none outlives the client."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

CANCEL_DEADLINE = 1.0
"""Seconds for a task to end that has been cancelled; then it is cancelled again."""

CANCELLATIONS = 3
"""Of one task. One may be lost: before Python 3.12 `asyncio.wait_for` returns its result instead,
when both come in one turn of the loop. More are those of a task that does not want to end."""


class _Handling:
    """The handling of one message, in a task."""

    def __init__(self) -> None:
        self.task = asyncio.current_task()


_handling: ContextVar[_Handling | None] = ContextVar("bellwether_handling", default=None)


@contextmanager
def handling() -> Iterator[None]:
    """Let what is begun inside know its handler, also in a task of its own: before Python 3.12
    `asyncio.wait_for` makes one."""
    mine = _Handling()
    before = _handling.set(mine)
    try:
        yield
    finally:
        mine.task = None  # a task that is still there is nobody's
        _handling.reset(before)


class Tasks:
    """Keeps the tasks that run. Bound: one per connection, token and busy subscription."""

    def __init__(self, logger: logging.Logger) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._logger = logger

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something; an error that it does not handle itself is logged."""
        task = asyncio.create_task(work, name=f"bellwether-{name}")
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def end(self, deadline: float) -> None:
        """Wait so many seconds for what runs, then cancel it. The caller's own task is left out,
        and that of the handler which waits for him."""
        handler = _handling.get()
        mine = {asyncio.current_task(), None if handler is None else handler.task}
        try:
            if others := self._running - mine:
                await asyncio.wait(others, timeout=deadline)
        finally:
            others = self._running - mine
            for _ in range(CANCELLATIONS):
                for task in others:
                    task.cancel()
                if others:
                    _, others = await asyncio.wait(others, timeout=CANCEL_DEADLINE)
            for task in others:
                self._logger.error("%s ignores its cancellation", task.get_name())

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._logger.error("%s failed", task.get_name(), exc_info=error)


def is_cancelled() -> bool:
    """Tell whether the current task is being cancelled, or met a cancellation of something else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def failure_of(error: BaseException) -> Exception:
    """Return what a function has failed with. A cancellation is then not its caller's, but that of
    something whose result it asked for."""
    return error if isinstance(error, Exception) else RuntimeError("it met a cancellation")


class Timers:
    """The timers of a client; none outlives it."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.TimerHandle] = set()

    def after(self, delay: float, run: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `run` in so many milliseconds."""

        def fire() -> None:
            self._waiting.discard(handle)
            run()

        handle = asyncio.get_running_loop().call_later(delay / 1_000, fire)
        self._waiting.add(handle)
        return handle

    def cancel(self, handle: asyncio.TimerHandle | None) -> None:
        """Let one not fire; None, and one that has fired, do nothing."""
        if handle is not None:
            handle.cancel()
            self._waiting.discard(handle)

    def cancel_all(self) -> None:
        """Let none fire."""
        for handle in self._waiting:
            handle.cancel()
        self._waiting.clear()
