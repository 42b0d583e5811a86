"""An event loop whose clock jumps to the next timer: hours pass at once, in the same way."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec


class NothingToDo(Exception):
    """Everybody waits, and no timer will ever fire."""


class _JumpingSelector(selectors.BaseSelector):
    """Never waits: it moves the loop's clock instead."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingToDo
        self.now += max(timeout, 0.0)
        return self._real.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop for code that waits for timers and other code in it, not for sockets or threads."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds since the loop began."""
        return round(self._jumping.now, 7)  # sums of milliseconds stay what they are


P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on such a loop; it must leave no task, and no error that nobody has seen."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            unseen: list[dict[str, Any]] = []
            runner.get_loop().set_exception_handler(lambda loop, context: unseen.append(context))
            left = runner.run(_run(test(*args, **kwargs)))
            assert not left, f"left over: {left}"
            assert not unseen, f"nobody saw: {unseen}"

    return run


async def _run(test: Coroutine[Any, Any, None]) -> list[str]:
    await test
    await asyncio.sleep(0)
    return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
