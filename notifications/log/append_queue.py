"""The queue before the log's writer: who waits, how much may wait, and whose turn it is.

Bounded in publications (`QUEUE_BOUND`) and in bytes (`QUEUE_BYTES`). Over either, a publisher is
refused with OVERLOADED; one that takes more of it than is left for all others together, with
RATE_LIMITED. Nothing of what is refused is kept. Metrics: bellwether_append_queue,
bellwether_append_queue_bytes, bellwether_append_refused.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from notifications import metrics
from notifications.errors import NotificationError, Overloaded, RateLimited
from notifications.log.ephemeral import make_ephemeral
from notifications.log.records import Outcome, Publication, Record
from notifications.resilience.sharing import Room, SharedBound

QUEUE_BOUND = 20_000
"""Publications that may wait for the writer."""

QUEUE_BYTES = 64 * 1024 * 1024
"""Bytes of payload and metadata that may wait for the writer."""

GROUP_BOUND = 1_000
"""Publications that share a transaction at most."""

ENOUGH = 100
"""Publications for which the writer is woken at once: a busy loop's next turn may be far."""

GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of payload and metadata that share a transaction at most; one batch may have as many."""

RETRY_AFTER = 1_000
"""Milliseconds after which who was refused may try again: a full queue is written in less."""

Answer = list[Outcome] | NotificationError


class Ticket:
    """Publications that were handed in together and are answered together.

    publications: those that are still to be appended. ephemeral: the outcomes of those that were
    only relayed, by their index among all. loop: whose future it is; None for a thread's.
    answer: on its way to the loop once it is set.
    """

    __slots__ = (
        "answer",
        "ephemeral",
        "future",
        "holder",
        "loop",
        "publications",
        "size",
        "state",
        "weight",
    )

    def __init__(
        self, publications: Sequence[Publication], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.publications = publications
        self.ephemeral: dict[int, Outcome] = {}
        self.loop = loop
        self.answer: Answer | None = None
        self.future: Future[list[Outcome]] | asyncio.Future[list[Outcome]] = (
            Future() if loop is None else loop.create_future()
        )
        self.holder = publications[0].publisher if publications else ""
        self.size = len(publications)
        self.weight = sum([len(one.payload) + len(one.metadata) for one in publications])
        self.state = "new"

    def take_ephemeral(self) -> list[Record]:
        """Settle what is ephemeral; return its records."""
        indexes = [index for index, one in enumerate(self.publications) if one.ephemeral]
        if not indexes:
            return []
        outcomes, records = make_ephemeral([self.publications[index] for index in indexes])
        self.ephemeral = dict(zip(indexes, outcomes, strict=True))
        self.publications = [one for one in self.publications if not one.ephemeral]
        return records

    def outcomes(self, appended: Sequence[Outcome]) -> list[Outcome]:
        """Return the outcomes of what was appended, and of what was relayed, in order."""
        outcomes = list(appended)
        for index, outcome in self.ephemeral.items():  # ascending, so each finds its place
            outcomes.insert(index, outcome)
        return outcomes


def deliver(answers: Iterable[tuple[Ticket, Answer]]) -> None:
    """Answer those who wait; each event loop is woken once, however many wait there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Ticket, Answer]]] = {}
    for ticket, answer in answers:
        if ticket.loop is None:
            settle([(ticket, answer)])
        else:
            ticket.answer = answer
            by_loop.setdefault(ticket.loop, []).append((ticket, answer))
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(settle, settled)
        except RuntimeError:
            continue  # the loop is closed, so nobody waits there


def settle(settled: list[tuple[Ticket, Answer]]) -> None:
    """Answer tickets of this loop, or of threads."""
    for ticket, answer in settled:
        if ticket.future.done():
            continue  # who waited has gone
        if isinstance(answer, NotificationError):
            ticket.future.set_exception(answer)
        else:
            ticket.future.set_result(answer)


class AppendQueue:
    """What waits for one writer; thread-safe. bound, most_bytes: see the module."""

    def __init__(self, *, bound: int = QUEUE_BOUND, most_bytes: int = QUEUE_BYTES) -> None:
        self._tickets: deque[Ticket] = deque()
        self._count = SharedBound(bound)
        self._bytes = SharedBound(most_bytes)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._drained = threading.Condition(self._lock)
        self._is_open = False
        self._closing = False
        self._is_idle = False
        self._is_busy = False
        self._waking: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> int:
        """Publications that wait."""
        return self._count.used

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes.used

    @property
    def fullness(self) -> float:
        """What waits as a share of its bound, in number or in bytes: the larger of the two."""
        return max(self._count.fullness, self._bytes.fullness)

    def require_room(self, holder: str) -> None:
        """Refuse early what would be refused later; raises Overloaded, RateLimited.

        A look without the lock: what it lets through, `put` decides.
        """
        room = self._count.room(holder, 1)
        if room is not Room.FREE:
            raise _refusal(room, 1)

    def put(self, ticket: Ticket) -> bool:
        """Have a ticket wait; tell whether there is nobody to take it, so that one must `open`.

        Raises Overloaded, RateLimited.
        """
        with self._lock:
            for bound, amount in ((self._count, ticket.size), (self._bytes, ticket.weight)):
                room = bound.room(ticket.holder, amount)
                if room is not Room.FREE:
                    raise _refusal(room, ticket.size)
            self._count.take(ticket.holder, ticket.size)
            self._bytes.take(ticket.holder, ticket.weight)
            ticket.state = "waiting"
            self._tickets.append(ticket)
            if not self._is_idle:
                return not self._is_open
            if ticket.loop is None or self._count.used >= ENOUGH:
                self._work.notify()
                return False
            if self._waking is ticket.loop:
                return False
            self._waking = ticket.loop
        # What else this turn of the loop brings shares the group: the writer is woken after it.
        ticket.loop.call_soon(self._wake)
        return False

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a ticket back; False when the writer has taken it before."""
        with self._lock:
            if ticket.state != "waiting":
                return ticket.state == "withdrawn"
            ticket.state = "withdrawn"  # it stays in line and is passed over
            ticket.publications = ()  # but holds no memory that the bounds do not count
            self._give_back(ticket)
            return True

    def take(self, *, most: int = GROUP_BOUND, most_bytes: int = GROUP_BYTES) -> list[Ticket]:
        """Wait for work; return the tickets of one group, or none when closing with none left."""
        with self._lock:
            group: list[Ticket] = []
            while not group:
                while not self._tickets and not self._closing:
                    self._is_idle = True
                    self._drained.notify_all()
                    self._work.wait()
                self._is_idle = False
                if not self._tickets:
                    self._is_open = False
                    return []
                size = weight = 0
                while self._tickets:
                    ticket = self._tickets[0]
                    if ticket.state == "waiting":
                        if group and (
                            size + ticket.size > most or weight + ticket.weight > most_bytes
                        ):
                            break
                        ticket.state = "taken"
                        self._give_back(ticket)
                        group.append(ticket)
                        size += ticket.size
                        weight += ticket.weight
                    self._tickets.popleft()
            self._is_busy = True
            return group

    def done(self) -> None:
        """Say that the group that was taken last is written."""
        with self._lock:
            self._is_busy = False
            if not self._tickets:
                self._drained.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything was taken and written; False when it took too long."""
        with self._lock:
            return self._drained.wait_for(lambda: not self._tickets and not self._is_busy, timeout)

    def close(self) -> None:
        """Have `take` return nothing once nothing waits."""
        with self._lock:
            self._closing = True
            self._work.notify_all()

    def open(self) -> bool:
        """Promise to `take` until it returns nothing; False when somebody else does."""
        with self._lock:
            if self._is_open:
                return False
            self._is_open, self._closing = True, False
            return True

    def _wake(self) -> None:
        with self._lock:
            self._waking = None
            self._work.notify()

    def _give_back(self, ticket: Ticket) -> None:
        self._count.give_back(ticket.holder, ticket.size)
        self._bytes.give_back(ticket.holder, ticket.weight)


def _refusal(room: Room, size: int) -> NotificationError:
    if room is Room.FULL:
        metrics.append_refused.labels("full").inc(size)
        return Overloaded(
            "Too many publications wait for the log. Slow down and retry.",
            retry_after=RETRY_AFTER,
        )
    metrics.append_refused.labels("share").inc(size)
    return RateLimited(
        "Too many of your publications wait for the log, which others need too. Slow down and "
        "retry.",
        retry_after=RETRY_AFTER,
    )
