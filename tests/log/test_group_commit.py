"""Group commit: concurrent publishers share transactions, and each gets its own outcome."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError, OperationalError, connection
from psycopg.errors import AdminShutdown, ConnectionFailure, DeadlockDetected, QueryCanceled

from notifications.errors import InternalError, NotificationError, Overloaded, Unavailable
from notifications.log import group_commit
from notifications.log.append import append
from notifications.log.append_queue import AppendQueue, Ticket, deliver
from notifications.log.group_commit import GroupCommit
from notifications.log.records import Appended, Outcome, Publication, Record, Unwritten
from notifications.models import Message
from tests.records import publication

WAIT = 10.0

# Also where no statement is sent: whoever waits looks at the connection that it has.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def relayed() -> list[Record]:
    return []


@pytest.fixture
def commit(relayed: list[Record]) -> Iterator[GroupCommit]:
    commit = GroupCommit(relayed.extend)
    yield commit
    commit.close(WAIT)


class Appender:
    """Stands in for append(): blocks at a gate, fails on demand, notes the sizes of groups."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.groups: list[list[str]] = []
        self.fail: Callable[[Sequence[Publication]], Exception | None] = lambda _: None
        self.committing_first = False

    def __call__(
        self, publications: Sequence[Publication], *, before_commit: Callable[[], None]
    ) -> tuple[list[Outcome], list[Record]]:
        self.entered.set()
        assert self.gate.wait(WAIT)
        self.groups.append([one.topic for one in publications])
        if self.committing_first:
            before_commit()
        if (error := self.fail(publications)) is not None:
            raise error
        before_commit()
        return [Appended(f"id-{one.topic}", one.topic, 1, 0, 1, 0) for one in publications], []


@pytest.fixture
def appender(monkeypatch: pytest.MonkeyPatch) -> Appender:
    appender = Appender()
    monkeypatch.setattr(group_commit, "append", appender)
    return appender


def test_concurrent_publishers_share_transactions_and_get_their_own_outcomes(
    commit: GroupCommit, relayed: list[Record]
) -> None:
    def one(number: int) -> tuple[int, Outcome]:
        return number, commit.append([publication("user.1.a", number)])[0]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(200)))
    for number, outcome in answers:
        assert isinstance(outcome, Appended)
        assert Message.objects.get(pk=outcome.id).payload == str(number)
    assert sorted(
        outcome.offset for _, outcome in answers if isinstance(outcome, Appended)
    ) == list(range(1, 201))
    assert commit.flush(WAIT)
    assert [record.offset for record in relayed] == list(range(1, 201))


async def test_the_event_loop_publishes_too(commit: GroupCommit) -> None:
    answers = await asyncio.gather(
        *(commit.append_async([publication("user.1.a", n)]) for n in range(50))
    )
    seqs = [answer[0].seq for answer in answers if isinstance(answer[0], Appended)]
    assert seqs == list(range(1, 51))


def test_what_arrives_during_a_commit_is_the_next_group(
    commit: GroupCommit, appender: Appender
) -> None:
    first = commit.submit([publication("first")])
    assert appender.entered.wait(WAIT)
    rest = [commit.submit([publication(f"t{n}")]) for n in range(5)]
    appender.gate.set()
    assert [future.result(WAIT)[0] for future in [first, *rest]]
    assert appender.groups == [["first"], [f"t{n}" for n in range(5)]]


def test_a_group_is_bounded(
    commit: GroupCommit, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = commit.queue.take
    monkeypatch.setattr(commit.queue, "take", lambda: take(most=4))
    commit.submit([publication("first")])
    assert appender.entered.wait(WAIT)
    futures = [commit.submit([publication("a"), publication("b")]) for _ in range(3)]
    futures.append(commit.submit([publication("c") for _ in range(9)]))
    appender.gate.set()
    for future in futures:
        future.result(WAIT)
    assert [len(group) for group in appender.groups] == [1, 4, 2, 9]


def test_over_the_bound_a_publisher_is_refused_and_nothing_is_kept(
    appender: Appender,
) -> None:
    commit = GroupCommit(lambda _: None, queue=AppendQueue(bound=3))
    commit.submit([publication("first")])
    assert appender.entered.wait(WAIT)
    waiting = commit.submit([publication("a"), publication("b"), publication("c")])
    with pytest.raises(Overloaded) as refused:
        commit.submit([publication("d")])
    assert refused.value.retry_after
    appender.gate.set()
    waiting.result(WAIT)
    commit.close(WAIT)
    assert not any("d" in group for group in appender.groups)


def test_one_that_the_database_refuses_fails_alone(commit: GroupCommit, appender: Appender) -> None:
    def fail(publications: Sequence[Publication]) -> Exception | None:
        return DatabaseError("bad") if any(p.topic == "bad" for p in publications) else None

    appender.fail = fail
    first = commit.submit([publication("first")])
    assert appender.entered.wait(WAIT)
    good, bad, fine = (commit.submit([publication(name)]) for name in ("good", "bad", "fine"))
    appender.gate.set()
    for future in (first, good, fine):
        assert isinstance(future.result(WAIT)[0], Appended)
    with pytest.raises(InternalError):
        bad.result(WAIT)


def test_a_dead_connection_is_tried_once_more_before_the_commit(
    commit: GroupCommit, appender: Appender
) -> None:
    errors: list[Any] = [OperationalError("gone"), None]
    appender.fail = lambda _: errors.pop(0)
    appender.gate.set()
    assert isinstance(commit.append([publication("a")])[0], Appended)
    assert len(appender.groups) == 2


@pytest.mark.skipif(connection.vendor == "sqlite", reason="no connection to lose")
def test_a_connection_that_the_server_ended_is_replaced(
    commit: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []
    honest = append

    def noting(publications: Any, **options: Any) -> Any:
        appended = honest(publications, **options)
        pids.append(connection.connection.info.backend_pid)
        return appended

    monkeypatch.setattr(group_commit, "append", noting)
    commit.append([publication("a.b", 1)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pids[0]])
        assert cursor.fetchone() == (True,)
    (outcome,) = commit.append([publication("a.b", 2)])
    assert isinstance(outcome, Appended)
    assert outcome.seq == 2
    assert len(set(pids)) == 2


def test_an_error_at_the_commit_is_not_tried_again(commit: GroupCommit, appender: Appender) -> None:
    appender.committing_first = True
    appender.fail = lambda _: OperationalError("gone")
    appender.gate.set()
    with pytest.raises(Unavailable):
        commit.append([publication("a")])
    assert len(appender.groups) == 1


@pytest.mark.parametrize(
    ("said", "tries"),
    [(DeadlockDetected, 2), (QueryCanceled, 2), (AdminShutdown, 1), (ConnectionFailure, 1)],
)
def test_what_the_database_says_it_rolled_back_is_tried_again(
    commit: GroupCommit, appender: Appender, said: type[Exception], tries: int
) -> None:
    def fail(_: object) -> Exception | None:
        if len(appender.groups) == 2:
            return None
        error = OperationalError("told")
        error.__cause__ = said()
        return error

    appender.committing_first = True
    appender.fail = fail
    appender.gate.set()
    if tries == 2:
        assert isinstance(commit.append([publication("a")])[0], Appended)
    else:
        with pytest.raises(Unavailable):
            commit.append([publication("a")])
    assert len(appender.groups) == tries


def test_a_publisher_that_waited_too_long_is_told_and_withdrawn(
    commit: GroupCommit, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "DEADLINE", 0.05)
    commit.submit([publication("first")])
    assert appender.entered.wait(WAIT)
    with pytest.raises(Unavailable, match="was not published"):
        commit.append([publication("late")])
    appender.gate.set()
    assert commit.flush(WAIT)
    assert appender.groups == [["first"]]


def test_the_outcome_of_one_that_is_being_written_is_unknown(
    commit: GroupCommit, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "DEADLINE", 0.05)
    with pytest.raises(Unavailable, match="may or may not"):
        commit.append([publication("slow")])
    appender.gate.set()


async def test_the_event_loop_is_told_too(commit: GroupCommit, appender: Appender) -> None:
    commit.submit([publication("first")])
    await asyncio.to_thread(appender.entered.wait, WAIT)
    with pytest.raises(Unavailable, match="was not published"):
        await commit.append_async([publication("late")], within=0.05)
    appender.gate.set()


def test_closing_appends_what_waits(appender: Appender) -> None:
    commit = GroupCommit(lambda _: None)
    futures = [commit.submit([publication(f"t{n}")]) for n in range(3)]
    appender.gate.set()
    commit.close(WAIT)
    assert all(future.done() for future in futures)


def test_after_closing_it_starts_again_when_needed(commit: GroupCommit, appender: Appender) -> None:
    appender.gate.set()
    commit.append([publication("a")])
    commit.close(WAIT)
    commit.append([publication("b")])
    assert appender.groups == [["a"], ["b"]]


def test_what_is_ephemeral_is_relayed_before_the_transaction_and_not_kept(
    commit: GroupCommit, relayed: list[Record], appender: Appender
) -> None:
    mixed = [
        publication("e.a", 1, ephemeral=True, idempotency_key="k"),
        publication("d", 2),
        publication("e.b", 3, ephemeral=True),
    ]
    future = commit.submit(mixed)
    assert appender.entered.wait(WAIT)
    assert [(one.topic, one.payload, one.offset, one.seq) for one in relayed] == [
        ("e.a", b"1", 0, 0),
        ("e.b", b"3", 0, 0),
    ]
    assert not future.done(), "one of them waits for its commit"
    appender.gate.set()
    outcomes = [one for one in future.result(WAIT) if isinstance(one, Appended)]
    assert [(one.topic, one.offset) for one in outcomes] == [("e.a", 0), ("d", 1), ("e.b", 0)]
    assert [one.id for one in outcomes[::2]] == [one.id for one in relayed]
    assert appender.groups == [["d"]]


def test_a_group_of_ephemeral_ones_opens_no_transaction(
    commit: GroupCommit, appender: Appender
) -> None:
    future = commit.submit([publication("e.a", ephemeral=True)] * 2)
    assert len(future.result(WAIT)) == 2
    assert commit.flush(WAIT)
    assert not appender.entered.is_set()


def test_a_group_that_is_split_relays_what_is_ephemeral_once(
    commit: GroupCommit, relayed: list[Record], appender: Appender
) -> None:
    appender.gate.set()
    appender.fail = lambda group: DatabaseError("no") if group[0].topic == "bad" else None
    first = commit.submit([publication("bad"), publication("e.a", ephemeral=True)])
    second = commit.submit([publication("e.b", ephemeral=True), publication("good")])
    bad, passed_on = first.result(WAIT)
    assert isinstance(bad, Unwritten)
    assert isinstance(bad.error, InternalError)
    assert isinstance(passed_on, Appended)
    assert len(second.result(WAIT)) == 2
    assert commit.flush(WAIT)
    assert sorted(one.topic for one in relayed) == ["e.a", "e.b"]


@pytest.mark.parametrize("bad", [{0}, {4}, {8}, {0, 3, 8}])
def test_one_of_a_batch_that_the_database_refuses_fails_alone(
    commit: GroupCommit, relayed: list[Record], bad: set[int]
) -> None:
    batch = [
        publication("a.b", n, expires_at=10**15 if n in bad else 0)  # far beyond the year 9999
        for n in range(9)
    ]
    outcomes = commit.append(batch)
    refused = {n for n, one in enumerate(outcomes) if isinstance(one, Unwritten)}
    assert refused == bad
    assert [one.seq for one in outcomes if isinstance(one, Appended)] == list(
        range(1, 10 - len(bad))
    )
    payloads = [str(n) for n in range(9) if n not in bad]
    assert list(Message.objects.order_by("seq").values_list("payload", flat=True)) == payloads
    assert commit.flush(WAIT)
    assert [record.payload.decode() for record in relayed] == payloads


def test_a_neighbour_in_the_group_is_written_whatever_the_fault(commit: GroupCommit) -> None:
    bad = msgspec.structs.replace(publication("a.b"), payload=b"\xff")  # not the database's error
    together = threading.Barrier(9)

    def one(number: int) -> Outcome | NotificationError:
        together.wait(WAIT)
        try:
            return commit.append([bad if number == 4 else publication("a.b", number)])[0]
        except InternalError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(one, range(9)))
    assert isinstance(answers.pop(4), InternalError)
    assert all(isinstance(answer, Appended) for answer in answers)
    assert Message.objects.count() == 8


def test_a_batch_is_not_taken_apart_for_ever(commit: GroupCommit, appender: Appender) -> None:
    appender.gate.set()
    appender.fail = lambda _: DatabaseError("no")
    outcomes = commit.append([publication("a")] * 1000)
    assert len(outcomes) == 1000
    assert all(isinstance(one, Unwritten) for one in outcomes)
    assert len(appender.groups) <= group_commit.PARTS + 1


def test_a_database_that_goes_away_in_the_middle_of_a_batch_is_told(
    commit: GroupCommit, appender: Appender
) -> None:
    def fail(publications: Sequence[Publication]) -> Exception | None:
        if len(publications) == 4:
            return DatabaseError("one of them")
        return OperationalError("gone") if publications[0].topic == "c" else None

    appender.fail = fail
    appender.gate.set()
    outcomes = commit.append([publication(topic) for topic in "abcd"])
    assert [type(one) for one in outcomes] == [Appended, Appended, Unwritten, Unwritten]
    assert all(isinstance(one.error, Unavailable) for one in outcomes if isinstance(one, Unwritten))


async def test_those_who_wait_in_an_event_loop_are_woken_at_once_for_all(
    commit: GroupCommit, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    appender.gate.set()
    await commit.append_async([publication("first")])
    async with asyncio.timeout(WAIT):
        while not commit.queue._is_idle:
            await asyncio.sleep(0.001)
    calls: list[Any] = []
    wake = loop.call_soon_threadsafe

    def counting(call: Callable[..., Any], *values: Any) -> Any:
        calls.append(call)
        return wake(call, *values)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    answers = await asyncio.gather(*(commit.append_async([publication("a")]) for _ in range(20)))
    assert len(answers) == 20
    assert appender.groups[1:] == [["a"] * 20], "what one turn of the loop brings is one group"
    assert len(calls) == 1


async def test_an_answer_that_is_on_its_way_beats_the_deadline(commit: GroupCommit) -> None:
    ticket = Ticket([publication("a")], asyncio.get_running_loop())
    outcomes: list[Outcome] = [Appended("id", "a", 1, 0, 1, 0)]
    deliver([(ticket, outcomes)])
    commit._expire(ticket)  # a busy loop may run the timer first
    assert isinstance(ticket.future, asyncio.Future)
    assert await ticket.future == outcomes
    await asyncio.sleep(0)  # the answer itself comes too late, and does no harm


def test_an_event_loop_that_ends_leaves_the_writer_to_others(
    commit: GroupCommit, appender: Appender
) -> None:
    appender.gate.set()
    commit.append([publication("first")])

    async def hand_in_and_go() -> None:
        task = asyncio.ensure_future(commit.append_async([publication("gone")]))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(hand_in_and_go())
    commit.append([publication("next")])
    assert appender.groups[-1][-1] == "next"


def test_what_is_only_relayed_is_refused_while_the_relay_is_behind(
    commit: GroupCommit, relayed: list[Record]
) -> None:
    commit.relay_is_behind = lambda: True
    with pytest.raises(Overloaded) as refused:
        commit.append([publication("a"), publication("e.a", ephemeral=True)])
    assert refused.value.retry_after
    assert isinstance(commit.append([publication("a")])[0], Appended), "the log brings that"
    commit.relay_is_behind = lambda: False
    commit.append([publication("e.a", ephemeral=True)])
    assert commit.flush(WAIT)
    assert [record.topic for record in relayed] == ["a", "e.a"]
