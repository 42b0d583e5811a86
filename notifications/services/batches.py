"""Database work in batches: what comes while one batch is being written is the next one.

`Gathering` answers each request of a batch; `BatchWriter` writes what nobody waits for.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import structlog
from django.db import DatabaseError, IntegrityError, OperationalError
from prometheus_client import Counter, Gauge, Histogram

from notifications.database import in_database, in_database_apart
from notifications.errors import InternalError, NotificationError, Overloaded, Unavailable
from notifications.stopping import stop_tasks

RETRY_PAUSE = 1.0
"""Seconds until what could not be written is tried again."""

CONFLICTS = 4
"""How often a request that conflicts with another process is tried again."""

_DEADLOCK = {"40001", "40P01"}

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

logger = structlog.get_logger(__name__)


class _Asked(NamedTuple, Generic[Q, A]):
    request: Q
    answer: "asyncio.Future[A]"
    deadline: float


class Gathering(Generic[Q, A]):
    """Requests that wait for their part of a batch. One batch is in the database at a time.

    A request that comes when none is begins one at once; so the busier the server is, the larger
    the batches are and the less each request costs. A batch is in the order of its requests.

    work: carries out a batch in a thread; answers each request, with a NotificationError where it
        is refused.
    unwanted: called with answers that nobody waits for any more.
    size: requests of one batch at most. deadline: seconds in which each is answered.

    Bound: `bound` requests may wait. Policy: over it they are refused with OVERLOADED. Metrics:
    waiting, batch_size, refused.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Q]], Sequence[A | NotificationError]],
        *,
        unwanted: Callable[[A], None] = lambda answer: None,
        size: int,
        bound: int,
        deadline: float,
        waiting: Gauge,
        batch_size: Histogram,
        refused: Counter,
    ) -> None:
        self._work = work
        self._unwanted = unwanted
        self._size = size
        self._bound = bound
        self._deadline = deadline
        self._metrics = (waiting, batch_size, refused)
        self._queue: deque[_Asked[Q, A]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, request: Q) -> A:
        """Wait for the answer to a request.

        Raises Overloaded, Unavailable when the database does not answer in time (the request may
        still have taken effect), InternalError, and what `work` refuses it with.
        """
        waiting, _, refused = self._metrics
        if len(self._queue) >= self._bound:
            refused.inc()
            raise Overloaded(
                "Too many requests wait for the database. Try again shortly.", retry_after=2000
            )
        loop = asyncio.get_running_loop()
        asked = _Asked[Q, A](request, loop.create_future(), loop.time() + self._deadline)
        self._queue.append(asked)
        waiting.set(len(self._queue))
        if self._task is None:
            self._task = loop.create_task(self._run(), name="gathered-requests")
        return await asked.answer

    async def stop(self) -> None:
        """Take no more batches; whoever waits is refused."""
        if self._task is not None:
            await stop_tasks([self._task])
        self._answer(list(self._queue), [_stopping()] * len(self._queue))
        self._queue.clear()

    async def _run(self) -> None:
        waiting, batch_size, _ = self._metrics
        try:
            while batch := self._take():
                batch_size.observe(len(batch))
                waiting.set(len(self._queue))
                self._answer(batch, await self._carry_out(batch))
        finally:
            self._task = None

    def _take(self) -> list[_Asked[Q, A]]:
        batch: list[_Asked[Q, A]] = []
        while self._queue and len(batch) < self._size:
            asked = self._queue.popleft()
            if not asked.answer.done():  # cancelled: nobody waits any more
                batch.append(asked)
        return batch

    async def _carry_out(self, batch: Sequence[_Asked[Q, A]]) -> Sequence[A | NotificationError]:
        requests = [asked.request for asked in batch]
        # The first has waited longest, so when its time is over the others' is not yet.
        left = max(0.0, batch[0].deadline - asyncio.get_running_loop().time())
        try:
            return await in_database_apart(
                partial(self._work, requests), within=left, late=self._came_late
            )
        except asyncio.CancelledError:
            self._answer(batch, [_stopping()] * len(batch))
            raise
        except NotificationError as refusal:
            error = refusal
        except Exception:
            logger.exception("a batch failed")
            error = InternalError("The server failed on this request; its log says why. Retry.")
        return [error] * len(batch)

    def _answer(
        self, batch: Sequence[_Asked[Q, A]], answers: Sequence[A | NotificationError]
    ) -> None:
        for asked, answer in zip(batch, answers, strict=True):
            if asked.answer.done():
                self._came_late([answer])
            elif isinstance(answer, NotificationError):
                asked.answer.set_exception(answer)
            else:
                asked.answer.set_result(answer)

    def _came_late(self, answers: Sequence[A | NotificationError]) -> None:
        for answer in answers:
            if not isinstance(answer, NotificationError):
                self._unwanted(answer)


def _stopping() -> NotificationError:
    return Unavailable("This server is stopping. Connect again.", retry_after=1000)


def each_for_itself(
    work: Callable[[Sequence[Q]], Sequence[A | NotificationError]], batch: Sequence[Q]
) -> Sequence[A | NotificationError]:
    """Carry out a batch; where the database refuses it, its halves: so one fails alone.

    work: carries out a batch in one transaction. A request that conflicts with another process is
    tried again, CONFLICTS times at most: each time it sees what the other wrote. Raises
    OperationalError and InterfaceError when the database is away.
    """
    try:
        return work(batch)
    except DatabaseError as error:
        if isinstance(error, OperationalError) and not _is_deadlock(error):
            raise
        refused = error
    if len(batch) > 1:
        half = len(batch) // 2
        first = each_for_itself(work, batch[:half])
        return [*first, *each_for_itself(work, batch[half:])]
    if isinstance(refused, IntegrityError | OperationalError):
        for _ in range(CONFLICTS):
            try:
                return work(batch)
            except IntegrityError as error:
                refused = error
    logger.warning("the database refuses a request", error=str(refused).strip())
    return [Unavailable("The database refuses this now. Try again shortly.", retry_after=1000)]


def _is_deadlock(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) in _DEADLOCK


class BatchWriter(ABC, Generic[T]):
    """What is to be written soon, and the task that writes it. The queue is the subclass's.

    pause: seconds in which entries gather for one transaction. Entries that could not be written
    are put back and tried again.
    """

    def __init__(self, *, name: str, pause: float) -> None:
        self._name = name
        self._pause = pause
        self._news = asyncio.Event()
        self._finishing = False
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def _take(self) -> list[T]:
        """Take what one transaction writes; nothing when nothing waits."""

    @abstractmethod
    def _put_back(self, batch: list[T]) -> None:
        """Take back what could not be written."""

    @abstractmethod
    def _write(self, batch: list[T]) -> None:
        """Write a batch in one transaction; called in a thread."""

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name=self._name)

    async def finish(self, *, within: float) -> None:
        """Write what waits, for so many seconds at most.

        The task is not cancelled: a batch that is being written must not land after whatever the
        caller writes next.
        """
        self._finishing = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)

    def _wake(self) -> None:
        self._news.set()

    async def _write_for_ever(self) -> None:
        while True:
            await self._news.wait()
            if not self._finishing:
                await asyncio.sleep(self._pause)
            self._news.clear()
            if await self._write_all():
                if self._finishing:
                    return
            else:
                await asyncio.sleep(RETRY_PAUSE)
                self._news.set()

    async def _write_all(self) -> bool:
        while batch := self._take():
            try:
                await in_database(self._write, batch)
            except Exception as error:
                self._put_back(batch)
                if not isinstance(error, Unavailable):
                    logger.exception("a batch could not be written", writer=self._name)
                return False
        return True
