"""Group commit: publications that arrive together share a transaction.

One writer thread per process takes what waits, appends it, and answers everyone at once. While it
waits for the disk, the next group gathers, so the more publishers there are, the less each costs.

What is ephemeral is answered and relayed before the group's transaction begins, and has no part in
it; a group with nothing else opens none.

What waits is bounded: see append_queue. Metrics: bellwether_append_batch_size,
bellwether_append_failures.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

import structlog
from django.db import IntegrityError, InterfaceError, OperationalError, connection

from notifications import metrics
from notifications.errors import InternalError, NotificationError, Overloaded, Unavailable
from notifications.log.append import append
from notifications.log.append_queue import AppendQueue, Ticket, deliver, settle
from notifications.log.records import Outcome, Publication, Record, Unwritten

DEADLINE = 1.8
"""Seconds that a publisher waits; the contract allows two."""

PARTS = 64
"""Into so many parts a batch is cut at most to find what the database refuses of it."""

Relay = Callable[[Sequence[Record]], None]

logger = structlog.get_logger(__name__)


class GroupCommit:
    """The writer of one process.

    relay: called in the writer thread with the new records after each commit; must not raise and
    must return soon, because the next group waits for it.
    relay_is_behind: asked, in any thread, before something is taken that is only relayed: nothing
    would bring that to its readers later.
    """

    def __init__(self, relay: Relay, *, queue: AppendQueue | None = None) -> None:
        self.relay = relay
        self.relay_is_behind: Callable[[], bool] = lambda: False
        self.queue = queue or AppendQueue()
        self._thread: threading.Thread | None = None

    def append(self, publications: Sequence[Publication]) -> list[Outcome]:
        """Append from a thread; block until the commit. Not inside a transaction.

        Raises Unavailable, also when the outcome is not known within DEADLINE, Overloaded and
        RateLimited.
        """
        # A thread that waits for the writer must not keep a connection that the writer, or another
        # thread, waits for: it goes back to PostgreSQL's pool (settings say when, CONN_MAX_AGE).
        connection.close_if_unusable_or_obsolete()
        ticket = self._hand_in(Ticket(publications))
        assert isinstance(ticket.future, Future)
        try:
            return ticket.future.result(DEADLINE)
        except FutureTimeout:
            raise self._too_late(ticket) from None

    async def append_async(
        self, publications: Sequence[Publication], *, within: float = DEADLINE
    ) -> list[Outcome]:
        """Append from the event loop, within so many seconds; the same errors."""
        loop = asyncio.get_running_loop()
        ticket = self._hand_in(Ticket(publications, loop))
        assert isinstance(ticket.future, asyncio.Future)
        expiry = loop.call_later(within, self._expire, ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self.queue.withdraw(ticket)
            raise
        finally:
            expiry.cancel()

    def submit(self, publications: Sequence[Publication]) -> Future[list[Outcome]]:
        """Hand publications in without waiting; the future answers after the commit.

        Raises Overloaded, RateLimited.
        """
        ticket = self._hand_in(Ticket(publications))
        assert isinstance(ticket.future, Future)
        return ticket.future

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed in was appended and relayed; False when it took too long."""
        return self.queue.flush(timeout)

    def close(self, timeout: float) -> None:
        """Append what waits, then end the writer thread."""
        self.queue.close()
        if self._thread is not None:
            self._thread.join(timeout)

    def _hand_in(self, ticket: Ticket) -> Ticket:
        if self.relay_is_behind() and any(one.ephemeral for one in ticket.publications):
            metrics.append_refused.labels("bus").inc(ticket.size)
            raise Overloaded(
                "The servers are not told of messages in time, and those of this topic are not "
                "kept; nothing was published. Retry.",
                retry_after=1000,
            )
        if self.queue.put(ticket):
            self._start_writer()
        return ticket

    def _start_writer(self) -> None:
        if self.queue.open():
            self._thread = threading.Thread(target=self._write, name="log-writer", daemon=True)
            self._thread.start()

    def _expire(self, ticket: Ticket) -> None:
        if ticket.answer is not None:
            settle([(ticket, ticket.answer)])  # a busy loop ran this first; it is true all the same
        elif not ticket.future.done():
            ticket.future.set_exception(self._too_late(ticket))

    def _too_late(self, ticket: Ticket) -> NotificationError:
        # A ticket that the writer has not taken yet is withdrawn; the outcome of one that it has
        # taken is unknown until it answers, and only a retry with an idempotency key is safe.
        withdrawn = self.queue.withdraw(ticket)
        state = "was not published" if withdrawn else "may or may not have been published"
        return Unavailable(
            f"The log did not answer in time; the message {state}. Retry with the same "
            "idempotencyKey.",
            retry_after=1000,
        )

    def _write(self) -> None:
        while group := self.queue.take():
            try:
                group = self._relay_ephemeral(group)
                if group:
                    self._commit(group)
            except Exception:
                logger.exception("the log writer failed")
                deliver((ticket, InternalError("Publishing failed. Retry.")) for ticket in group)
            self.queue.done()
        connection.close()

    def _relay_ephemeral(self, group: list[Ticket]) -> list[Ticket]:
        """Settle and relay what is ephemeral; return the tickets with something to append."""
        records = [record for ticket in group for record in ticket.take_ephemeral()]
        if not records:
            return group
        deliver((ticket, ticket.outcomes([])) for ticket in group if not ticket.publications)
        self.relay(records)
        return [ticket for ticket in group if ticket.publications]

    def _commit(self, group: list[Ticket]) -> None:
        publications = [p for ticket in group for p in ticket.publications]
        try:
            outcomes, records = self._append(publications)
        except (OperationalError, InterfaceError) as error:
            self._note_failure(error)
            deliver((ticket, _unavailable()) for ticket in group)
            return
        except Exception as error:
            self._split(group, error)
            return
        answers = []
        place = 0
        for ticket in group:
            end = place + len(ticket.publications)
            answers.append((ticket, ticket.outcomes(outcomes[place:end])))
            place = end
        deliver(answers)
        if records:
            self.relay(records)

    def _append(self, publications: Sequence[Publication]) -> tuple[list[Outcome], list[Record]]:
        """Append, once more on a new connection when the old one was dead before the commit."""
        for last_try in (False, True):
            committing = False

            def before_commit() -> None:
                nonlocal committing
                committing = True

            try:
                appended = append(publications, before_commit=before_commit)
            except (OperationalError, InterfaceError) as error:
                connection.close()
                if last_try or (committing and not _is_rolled_back(error)):
                    raise
            except IntegrityError:
                # Another process inserted one of our idempotency keys meanwhile: now it is seen.
                if last_try:
                    raise
            else:
                metrics.append_batch_size.observe(len(publications))
                metrics.messages_appended.inc(len(appended[1]))
                return appended
        raise AssertionError("unreachable")

    def _split(self, group: list[Ticket], error: Exception) -> None:
        """Let a publication that the database refuses fail alone, not with its neighbours."""
        if len(group) > 1:
            for ticket in group:
                self._commit([ticket])
            return
        logger.error("the database refuses a publication", error=_said(error))
        ticket = group[0]
        if len(ticket.publications) == 1 and not ticket.ephemeral:
            deliver([(ticket, _refused())])
            return
        deliver([(ticket, ticket.outcomes(self._append_in_parts(ticket.publications)))])

    def _append_in_parts(self, publications: Sequence[Publication]) -> list[Outcome]:
        """Append a batch that the database refused as a whole: half after half, in its order.

        Over PARTS attempts the rest is given up, each part of it as a whole.
        """
        outcomes: list[Outcome] = []
        half = len(publications) // 2
        parts = [publications[half:], publications[:half]] if half else []
        if not half:
            outcomes.append(Unwritten(_refused()))
        attempts = 0
        while parts:
            part = parts.pop()
            attempts += 1
            if attempts > PARTS:
                outcomes += [Unwritten(_refused())] * len(part)
                continue
            try:
                appended, records = self._append(part)
            except (OperationalError, InterfaceError) as error:
                self._note_failure(error)
                outcomes += [Unwritten(_unavailable())] * (len(part) + sum(map(len, parts)))
                break
            except Exception as error:
                logger.debug("the database refuses a part of a batch", error=_said(error))
                half = len(part) // 2
                if half:
                    parts += [part[half:], part[:half]]
                else:
                    outcomes.append(Unwritten(_refused()))
                continue
            outcomes += appended
            if records:
                self.relay(records)
        return outcomes

    def _note_failure(self, error: Exception) -> None:
        metrics.append_failures.inc()
        logger.warning("the log cannot be written", error=_said(error))


def _is_rolled_back(error: Exception) -> bool:
    """Whether the database itself said of a transaction that it failed (a deadlock, say).

    Not so where the connection ended (class 08) or the server is being stopped (57P): the
    transaction may have been committed before that.
    """
    sqlstate = getattr(error.__cause__, "sqlstate", None)
    return sqlstate is not None and not sqlstate.startswith(("08", "57P"))


def _said(error: Exception) -> str:
    return str(error).strip()


def _refused() -> InternalError:
    return InternalError("The database refuses this publication; the server's log says why.")


def _unavailable() -> Unavailable:
    return Unavailable(
        "The log cannot be written now. Retry with the same idempotencyKey.", retry_after=1000
    )
