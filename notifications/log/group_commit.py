"""Group commit: publications that arrive together share a transaction.

One writer thread per process takes what waits, appends it, and answers everyone at once. While it
waits for the disk, the next group gathers, so the more publishers there are, the less each costs.

What is ephemeral is answered and relayed before the group's transaction begins, and has no part in
it; a group with nothing else opens none.

The queue is bounded in publications (`QUEUE_BOUND`); over the bound a publisher is refused with
OVERLOADED and nothing is kept. Metrics: bellwether_append_queue, bellwether_append_batch_size.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

import structlog
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection

from notifications import metrics
from notifications.errors import InternalError, NotificationError, Overloaded, Unavailable
from notifications.log.append import append
from notifications.log.ephemeral import make_ephemeral
from notifications.log.records import Outcome, Publication, Record

QUEUE_BOUND = 20_000
"""Publications that may wait for the writer."""

GROUP_BOUND = 1_000
"""Publications that share a transaction at most."""

DEADLINE = 1.8
"""Seconds that a publisher waits; the contract allows two."""

Relay = Callable[[Sequence[Record]], None]

logger = structlog.get_logger(__name__)


class _Ticket:
    """Publications that were handed in together and are answered together.

    publications: those that are still to be appended. ephemeral: the outcomes of those that were
    only relayed, by their index among all.
    """

    __slots__ = ("ephemeral", "future", "publications")

    def __init__(self, publications: Sequence[Publication]) -> None:
        self.publications = publications
        self.ephemeral: dict[int, Outcome] = {}
        self.future: Future[list[Outcome]] = Future()

    def take_ephemeral(self) -> list[Record]:
        """Settle what is ephemeral; return its records."""
        indexes = [index for index, one in enumerate(self.publications) if one.ephemeral]
        if not indexes:
            return []
        outcomes, records = make_ephemeral([self.publications[index] for index in indexes])
        self.ephemeral = dict(zip(indexes, outcomes, strict=True))
        self.publications = [one for one in self.publications if not one.ephemeral]
        return records

    def answer(self, appended: Sequence[Outcome]) -> None:
        """Answer with the outcomes of what was appended, and of what was relayed, in order."""
        outcomes = list(appended)
        for index, outcome in self.ephemeral.items():  # ascending, so each finds its place
            outcomes.insert(index, outcome)
        self.future.set_result(outcomes)


class GroupCommit:
    """The writer of one process.

    relay: called in the writer thread with the new records after each commit; must not raise and
    must return soon, because the next group waits for it.
    """

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._queue: deque[_Ticket] = deque()
        self._waiting = 0
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = False
        self._pid = os.getpid()

    def append(self, publications: Sequence[Publication]) -> list[Outcome]:
        """Append from a thread; block until the commit. Not inside a transaction.

        Raises Unavailable, also when the outcome is not known within DEADLINE, and Overloaded.
        """
        # A thread that waits for the writer must not keep a connection that the writer, or another
        # thread, waits for: it goes back to PostgreSQL's pool (settings say when, CONN_MAX_AGE).
        connection.close_if_unusable_or_obsolete()
        future = self.submit(publications)
        try:
            return future.result(DEADLINE)
        except FutureTimeout:
            raise self._too_late(future) from None

    async def append_async(
        self, publications: Sequence[Publication], *, within: float = DEADLINE
    ) -> list[Outcome]:
        """Append from the event loop, within so many seconds; the same errors."""
        future = self.submit(publications)
        try:
            async with asyncio.timeout(within):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._too_late(future) from None

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed in was appended and relayed; False when it took too long."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._queue and not self._busy, timeout)

    def close(self, timeout: float) -> None:
        """Append what waits, then end the writer thread."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def submit(self, publications: Sequence[Publication]) -> Future[list[Outcome]]:
        """Hand publications in without waiting; the future answers after the commit.

        Raises Overloaded.
        """
        ticket = _Ticket(publications)
        with self._condition:
            if self._waiting + len(publications) > QUEUE_BOUND:
                metrics.append_refused.inc(len(publications))
                raise Overloaded(
                    "Too many publications wait for the log. Slow down and retry.",
                    retry_after=1000,
                )
            self._waiting += len(publications)
            self._queue.append(ticket)
            if self._thread is None or self._pid != os.getpid():
                self._start_writer()
            self._condition.notify_all()
        metrics.append_queue.set(self._waiting)
        return ticket.future

    def _start_writer(self) -> None:
        self._pid = os.getpid()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._thread.start()

    def _too_late(self, future: Future[list[Outcome]]) -> NotificationError:
        # A ticket that the writer has not taken yet is withdrawn; the outcome of one that it has
        # taken is unknown until it answers, and only a retry with an idempotency key is safe.
        withdrawn = future.cancel()
        state = "was not published" if withdrawn else "may or may not have been published"
        return Unavailable(
            f"The log did not answer in time; the message {state}. Retry with the same "
            "idempotencyKey.",
            retry_after=1000,
        )

    def _write(self) -> None:
        while (group := self._take()) is not None:
            try:
                group = self._relay_ephemeral(group)
                if group:
                    self._commit(group)
            except Exception:
                logger.exception("the log writer failed")
                for ticket in group:
                    if not ticket.future.done():
                        ticket.future.set_exception(InternalError("Publishing failed. Retry."))
            with self._condition:
                self._busy = False
                self._condition.notify_all()
        connection.close()

    def _take(self) -> list[_Ticket] | None:
        """Wait for work; return the tickets of one group, or None when closing with none left."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                self._thread = None
                return None
            group: list[_Ticket] = []
            size = 0
            while self._queue and (
                not group or size + len(self._queue[0].publications) <= GROUP_BOUND
            ):
                ticket = self._queue.popleft()
                self._waiting -= len(ticket.publications)
                if ticket.future.set_running_or_notify_cancel():
                    group.append(ticket)
                    size += len(ticket.publications)
            self._busy = True
            return group

    def _relay_ephemeral(self, group: list[_Ticket]) -> list[_Ticket]:
        """Settle and relay what is ephemeral; return the tickets with something to append."""
        records = [record for ticket in group for record in ticket.take_ephemeral()]
        if not records:
            return group
        for ticket in group:
            if not ticket.publications:
                ticket.answer([])
        self.relay(records)
        return [ticket for ticket in group if ticket.publications]

    def _commit(self, group: list[_Ticket]) -> None:
        publications = [p for ticket in group for p in ticket.publications]
        try:
            outcomes, records = self._append(publications)
        except (OperationalError, InterfaceError) as error:
            metrics.append_failures.inc()
            logger.warning("the log cannot be written", error=str(error).strip())
            unavailable = Unavailable(
                "The log cannot be written now. Retry with the same idempotencyKey.",
                retry_after=1000,
            )
            for ticket in group:
                ticket.future.set_exception(unavailable)
            return
        except DatabaseError as error:
            self._split(group, error)
            return
        metrics.append_batch_size.observe(len(publications))
        metrics.append_queue.set(self._waiting)
        metrics.messages_appended.inc(len(records))
        place = 0
        for ticket in group:
            end = place + len(ticket.publications)
            ticket.answer(outcomes[place:end])
            place = end
        if records:
            self.relay(records)

    def _append(self, publications: list[Publication]) -> tuple[list[Outcome], list[Record]]:
        """Append, once more on a new connection when the old one was dead before the commit."""
        for last_try in (False, True):
            committing = False

            def before_commit() -> None:
                nonlocal committing
                committing = True

            try:
                return append(publications, before_commit=before_commit)
            except (OperationalError, InterfaceError):
                connection.close()
                if committing or last_try:
                    raise
            except IntegrityError:
                # Another process inserted one of our idempotency keys meanwhile: now it is seen.
                if last_try:
                    raise
        raise AssertionError("unreachable")

    def _split(self, group: list[_Ticket], error: DatabaseError) -> None:
        """Let a publication that the database refuses fail alone, not with its neighbours."""
        if len(group) > 1:
            for ticket in group:
                self._commit([ticket])
            return
        logger.error("the database refuses a publication", error=str(error).strip())
        group[0].future.set_exception(
            InternalError("The database refuses this publication; the server's log says why.")
        )
