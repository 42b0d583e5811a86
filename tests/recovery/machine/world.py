"""A world in which nothing happens by itself: clock, database, channel layer.

Everything runs in one thread. Time stands still until it is moved (that by which messages expire
may be moved alone, so that no deadline of a server ends meanwhile), database work is done when the
test says so, and what the channel layer carries arrives as the test decides. So a run depends on
its rules alone, and what failed once fails again.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any, ClassVar, Literal

BEGINNING = 1_700_000_000_000
"""The instant, in milliseconds since 1970, at which each example begins."""

TURNS = 20_000
"""Turns of the event loop after which a world that does not come to rest is broken."""

DatabaseMode = Literal["now", "late", "slow"]
BusMode = Literal["through", "held", "lost"]
Fate = Literal["delivered", "lost", "repeated"]


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        super().__init__()

    def time(self) -> float:
        """Return a time that only the test moves."""
        return self.now

    @property
    def is_busy(self) -> bool:
        """Whether something else is to be run in this turn or the next."""
        return bool(getattr(self, "_ready"))  # noqa: B009  # no public way tells it


class Database:
    """In place of the pool of threads: work is done at once, or when it is its turn.

    now: at once. late: when released. slow: at once, but the answer comes when released.
    """

    def __init__(self) -> None:
        self.mode: DatabaseMode = "now"
        self.waiting: deque[Callable[[], None]] = deque()

    def submit(self, work: Callable[[], Any]) -> "Future[Any]":
        """Take work in, as an executor does."""
        future: Future[Any] = Future()
        if self.mode == "late":
            self.waiting.append(partial(self._do_and_answer, future, work))
        else:
            answer = self._do(future, work)
            if self.mode == "slow":
                self.waiting.append(answer)
            else:
                answer()
        return future

    def _do_and_answer(self, future: "Future[Any]", work: Callable[[], Any]) -> None:
        self._do(future, work)()

    @staticmethod
    def _do(future: "Future[Any]", work: Callable[[], Any]) -> Callable[[], None]:
        if not future.set_running_or_notify_cancel():
            return lambda: None
        try:
            result = work()
        except BaseException as error:
            failure = error
            return lambda: future.set_exception(failure)
        return lambda: future.set_result(result)

    def release(self, index: int) -> None:
        """Let one piece of the waiting work go on, whichever."""
        if self.waiting:
            index %= len(self.waiting)
            work = self.waiting[index]
            del self.waiting[index]
            work()

    def release_all(self) -> None:
        """Let everything go on, and what comes after it too."""
        self.mode = "now"
        while self.waiting:
            self.waiting.popleft()()


class Net:
    """A channel layer: what is sent to a channel arrives as the test decides."""

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = {}
        self.modes: dict[str, BusMode] = {}
        self.held: dict[str, list[dict[str, Any]]] = {}
        self._queues: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._count = 0

    async def new_channel(self, prefix: str = "specific") -> str:
        self._count += 1
        name = f"{prefix}.{self._count}"
        self.modes[name], self.held[name] = "through", []
        self._queues[name] = asyncio.Queue()
        return name

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._queues[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        self.groups.setdefault(group, set()).add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups.get(group, set()).discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in sorted(self.groups.get(group, ())):
            match self.modes[channel]:
                case "through":
                    self._queues[channel].put_nowait(message)
                case "held":
                    self.held[channel].append(message)
                case "lost":
                    pass

    def settle(self, channel: str, index: int, fate: Fate) -> None:
        """Decide on one of the messages that are held for a channel."""
        held = self.held[channel]
        if not held:
            return
        index %= len(held)
        if fate != "lost":
            self._queues[channel].put_nowait(held[index])
        if fate != "repeated":
            del held[index]


class World:
    """The loop, the database and the layer of one example."""

    current: ClassVar["World"]
    _ids: ClassVar[Iterator[int]] = count(1)

    @classmethod
    def next_id(cls, milliseconds: int) -> uuid.UUID:
        """Return an id above all before it: the order of ids is the order of the log."""
        return uuid.UUID(int=next(cls._ids))

    @classmethod
    def time_ns(cls) -> int:
        """Return the time of the example that runs, as time.time_ns does."""
        return cls.current.now_ms * 1_000_000

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=StillLoop)
        loop = self.runner.get_loop()
        assert isinstance(loop, StillLoop)
        self.loop = loop
        World.current = self
        self.net = Net()
        self.database = Database()
        self.now_ms = BEGINNING
        """The clock by which messages are published and expire."""
        self.failures: list[BaseException] = []
        """What clients found wrong while the servers were at work."""

    def run(self, work: Coroutine[Any, Any, Any], *, turns: int | None = None) -> Any:
        """Do something in the loop, then let it turn so often, or until nothing goes on."""

        async def run() -> Any:
            result = await work
            await self._turn(turns)
            return result

        result = self.runner.run(run())
        if self.failures:
            raise self.failures[0]
        return result

    def call(self, work: Callable[[], Any], *, turns: int | None = None) -> Any:
        """Do the same with a function."""

        async def call() -> Any:
            return work()

        return self.run(call(), turns=turns)

    def rest(self) -> None:
        """Let all waiting work go on and the loop turn until nothing happens any more."""
        self.database.release_all()
        self.call(lambda: None)

    def wait(self, seconds: float) -> None:
        """Let time pass while nothing goes on."""
        self.rest()
        self.now_ms += int(seconds * 1000)
        self.loop.now += seconds
        self.rest()

    async def _turn(self, turns: int | None) -> None:
        if turns is not None:
            for _ in range(turns):
                await asyncio.sleep(0)
            return
        quiet = 0
        for _ in range(TURNS):
            await asyncio.sleep(0)
            quiet = 0 if self.loop.is_busy else quiet + 1
            if quiet == 3:
                return
        raise AssertionError("the servers do not come to rest")

    def close(self) -> None:
        """End the loop, with whatever still waits in it."""
        self.database.release_all()
        self.runner.close()
