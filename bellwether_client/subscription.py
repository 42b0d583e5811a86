"""One subscription of the application, and the running of its handler."""

import asyncio
import inspect
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from bellwether_client.backlog import WAITING_BOUND
from bellwether_client.config import SubscriptionOptions
from bellwether_client.cursor import Position
from bellwether_client.errors import NotificationError
from bellwether_client.messages import MessageHandler, NotificationMessage
from bellwether_client.progress import Step
from bellwether_client.shared import Shared
from bellwether_client.tasks import failure_of, handling, is_cancelled

if TYPE_CHECKING:
    from bellwether_client.replays import Replay

logger = logging.getLogger("bellwether_client")

Message = NotificationMessage[Any]

SLOW = 30_000.0
"""Milliseconds after which a handler for which others wait is told in the log, once."""


class Abandoned(Exception):
    """Raised by a handler of this library when its message is not handled after all."""


class LocalSubscription:
    """Runs the handler for one message after the other.

    Bound: the backlog's, over all that wait. A function is called at once where nothing waits;
    what it returns, if it can be awaited, is awaited in a task. While a replay is owed, other
    messages are held back: WAITING_BOUND of them, then the replay is given up.
    """

    def __init__(
        self,
        *,
        id: str,
        topic: str,
        created_at: datetime,
        handler: MessageHandler,
        options: SubscriptionOptions,
        shared: Shared,
        ended: Callable[[NotificationError | None], None] | None = None,
    ) -> None:
        self.id = id
        self.topic = topic
        self.created_at = created_at
        self.options = options
        self._handler = handler
        self._shared = shared
        self._on_end = ended
        self._phase: Literal["asked", "confirmed", "ended"] = "asked"
        self._error: NotificationError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._queue: deque[tuple[Message, Step]] = deque()
        self._owed: list[Replay] = []
        self._held: dict[Position | int, tuple[Message, Step]] = {}
        self._is_busy = False
        self._began = math.inf  # the handler that is awaited, in milliseconds since the Unix epoch
        self._is_told_slow = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for its handler, and it does not run."""
        return not self._is_busy and not self._queue and not self._held

    @property
    def connection_end(self) -> Exception | None:
        """With what the connection ended for good; None where one is, or may come."""
        return self._shared.end

    @property
    def held(self) -> int:
        """How many messages wait for a replay."""
        return len(self._held)

    async def ready(self) -> None:
        """Wait for the server's confirmation; raises its refusal, or the connection's end."""
        if self._phase == "asked":
            if (end := self._shared.end) is not None:
                raise end
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._error is not None:
            raise self._error

    def unsubscribe(self) -> None:
        """End it."""
        self._shared.leave(self.id)

    def is_active(self) -> bool:
        """Tell whether it has not ended."""
        return self._phase != "ended"

    def confirm(self) -> None:
        """Note that the server has it."""
        if self._phase == "asked":
            self._phase = "confirmed"
            self._tell()

    def end(self, error: NotificationError | None = None) -> None:
        """End it, by the server's decision or (without error) the application's."""
        if self._phase == "ended":
            return
        self._phase, self._error = "ended", error
        self._tell()
        self.let_go()
        if self._on_end is not None:
            self._on_end(error)

    def connection_ended(self, error: Exception) -> None:
        """Tell those who wait that no answer will come."""
        self._tell(error)

    def let_go(self) -> None:
        """Let what waits count as handled, unhandled."""
        held, self._held = list(self._held.values()), {}
        queue, self._queue = self._queue, deque()
        self._shared.backlog.add(-len(queue))
        for _, step in (*queue, *held):
            step.settle()

    def forget(self) -> None:
        """Forget what waits: it comes again."""
        self._shared.backlog.add(-len(self._queue))
        self._queue.clear()
        self._held.clear()

    def wants(self, message: Message) -> bool:
        """Tell whether a message is for it that it did not ask for again."""
        if self._phase != "confirmed":
            return False
        if not message.replayed:
            return True
        if self.options.replay_missed is False:
            return False
        oldest = self.options.max_replay_age
        return oldest is None or self._shared.now() - _milliseconds(message.timestamp) <= oldest

    def deliver(self, message: Message, step: Step) -> None:
        """Handle a message after those that wait; settles the step then."""
        if not self._owed:
            self._enqueue(message, step)
            return
        if message.position is not None and self._had(message.position):
            step.settle()  # the resume begins where all handlers were, which is before this one
            return
        key = id(message) if message.position is None else message.position
        before = self._held.get(key)
        if before is not None:
            before[1].settle()  # a redelivery of what waits
        self._held[key] = (message, step)
        if len(self._held) > WAITING_BOUND:
            for replay in list(self._owed):
                self._shared.give_up(replay)

    def bring(self, message: Message, step: Step) -> None:
        """Handle a message of a replay that is owed; the same one that was held back is let go."""
        if self._phase != "confirmed":
            step.settle()
            return
        if message.position is not None:
            before = self._held.pop(message.position, None)
            if before is not None:
                before[1].settle()
        self._enqueue(message, step)

    def hold(self, replay: "Replay") -> None:
        """Hold back whatever is not of this replay."""
        if replay not in self._owed:
            self._owed.append(replay)

    def release(self, replay: "Replay") -> None:
        """Note that a replay is over: what was held back follows, unless another is owed."""
        if replay not in self._owed:
            return
        self._owed.remove(replay)
        if self._owed:
            return
        held, self._held = list(self._held.values()), {}
        for message, step in held:
            self._enqueue(message, step)

    def tell_whether_slow(self, after: float = 0.0) -> None:
        """Tell that messages wait for a handler which has run for so many milliseconds."""
        ran = self._shared.now() - self._began
        if ran >= after and self._queue and not self._is_told_slow:
            self._is_told_slow = True
            text = "the handler of %s has run for %d s, and %d messages wait for it"
            logger.warning(text, self.topic, ran // 1_000, len(self._queue))

    def _had(self, position: Position) -> bool:
        return any(one.behind is not None and one.behind.covers(position) for one in self._owed)

    def _enqueue(self, message: Message, step: Step) -> None:
        self._queue.append((message, step))
        self._shared.backlog.add(1)
        if self._is_busy:
            self.tell_whether_slow(SLOW)
        else:
            self._is_busy = True
            self._go_on()

    def _go_on(self) -> None:
        """Handle what can be handled at once, and leave the rest to a task."""
        running = self._next()
        if running is None:
            self._is_busy = False
        else:
            self._shared.tasks.start(self._work(*running), f"handler-{self.id}")

    def _next(self) -> tuple[Awaitable[None], Message, Step] | None:
        """Call the handler until it returns something that has to be awaited."""
        while self._queue:
            message, step = self._queue.popleft()
            self._shared.backlog.add(-1)
            result = self._call(message)
            if result is not None:
                self._began, self._is_told_slow = self._shared.now(), False
                return result, message, step
            step.settle()
        return None

    def _call(self, message: Message) -> Awaitable[None] | None:
        try:
            if self.options.filter is not None and not self.options.filter(message):
                return None
            result = self._handler(message)
            return result if inspect.isawaitable(result) else None
        except (Exception, asyncio.CancelledError) as error:
            self._fail(failure_of(error), message)
            return None

    async def _work(self, running: Awaitable[None], message: Message, step: Step) -> None:
        following: tuple[Awaitable[None], Message, Step] | None = (running, message, step)
        try:
            while following is not None:
                running, message, step = following
                await self._finish(running, message)
                step.settle()
                following = self._next()
        except Abandoned:
            pass  # it comes again
        finally:
            self._is_busy, self._began = False, math.inf

    async def _finish(self, running: Awaitable[None], message: Message) -> None:
        try:
            with handling():
                await running
        except asyncio.CancelledError:
            if is_cancelled():
                raise  # the client is being disconnected; the message is not handled
            self._fail(RuntimeError("the handler was cancelled"), message)
        except Abandoned:
            raise
        except Exception as error:
            self._fail(error, message)

    def _fail(self, error: Exception, message: Message) -> None:
        if self.options.on_error is None:
            self._shared.handler_failed(error, message)
            return
        try:
            self.options.on_error(error, message)
        except (Exception, asyncio.CancelledError) as worse:
            self._shared.handler_failed(failure_of(worse), message)

    def _tell(self, error: Exception | None = None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def _milliseconds(instant: datetime) -> float:
    return instant.timestamp() * 1_000
