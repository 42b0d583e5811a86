"""The subscribers of the fault runs: they keep the rules of the contract, and note what it says."""

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.checker import check
from tests.delivery.cursors import ClientCursor
from tests.delivery.fault_subscriber import FaultSubscriber, Habits
from tests.delivery.history import Event, Handled, History, Recovered, read_history
from tests.delivery.model_server import ModelServer
from tests.delivery.report import Anomaly, Report
from tests.delivery.subscriber_state import Line, SubscriberState

Frame = dict[str, Any]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.jsonl") as made:
        yield made


def events(history: History, kind: type[Event]) -> list[Any]:
    history.close()
    return [event for event in read_history(history.path) if isinstance(event, kind)]


def cursor(*offsets: int, epoch: str = "x") -> Frame:
    named = {str(partition): offset for partition, offset in enumerate(offsets)}
    return {"epoch": epoch, "offsets": named}


def message(offset: int, partition: int = 0) -> Frame:
    return {
        "type": "message",
        "id": f"{partition}/{offset}",
        "topic": "shop.1.a",
        "seq": offset,
        "position": [partition, offset],
    }


# --- The cursor -----------------------------------------------------------------------------------


def test_a_cursor_goes_back_by_set_only() -> None:
    kept = ClientCursor()
    kept.merge(cursor(5, 5))
    kept.merge(cursor(3, 7))
    kept.handled((0, 4))
    kept.handled((2, 1))
    assert kept.on_the_wire() == {"epoch": "x", "offsets": {"0": 5, "1": 7, "2": 1}}
    assert kept.covers((0, 5))
    assert not kept.covers((0, 6))
    assert not kept.covers((3, 1)), "a partition that is not named counts as 0"
    kept.set(cursor(1))
    assert kept.on_the_wire() == cursor(1)
    kept.merge(cursor(0, epoch="y"))
    assert kept.on_the_wire() == cursor(0, epoch="y")


# --- Frames ---------------------------------------------------------------------------------------


def first_connection(
    history: History, *, deduplicates: bool = True
) -> tuple[SubscriberState, Line]:
    """Return a client that was authenticated and subscribed at cursor 0, 0."""
    state = SubscriberState(
        "ada", history, patterns=["shop.**"], grants=["shop.**"], deduplicates=deduplicates
    )
    line = Line(1, "first")
    assert "resume" not in state.auth(line, "key")
    answer = {"sessionId": "s1", "resumed": False, "subscriptions": [], "cursor": cursor(0, 0)}
    requests = state.authenticated(line, answer)
    assert [request["topic"] for request in requests] == ["shop.**"]
    was_ready = line.is_ready
    assert not was_ready
    state.take(line, {"type": "subscribed", "topic": "shop.**", "cursor": cursor(0, 0)})
    assert line.is_ready
    return state, line


def resumed(state: SubscriberState, *, by_server: bool = True) -> Line:
    line = Line(2, "second")
    assert state.auth(line, "key")["resume"]["sessionId"] == "s1"
    state.authenticated(
        line,
        {
            "sessionId": "s1" if by_server else "s2",
            "resumed": by_server,
            "subscriptions": [{"topic": "shop.**"}],
            "cursor": cursor(9, 9),
        },
    )
    return line


def test_what_the_cursor_covers_is_received_and_not_handled(history: History) -> None:
    state, line = first_connection(history)
    for frame in (message(1), message(1), message(3), message(2), message(1, 1)):
        state.take(line, frame)
    handled = [event.position for event in events(history, Handled)]
    assert handled == [(0, 1), (0, 3), (1, 1)]
    assert state.cursor.on_the_wire() == cursor(3, 1)


def test_a_careless_handler_gets_what_the_cursor_covers(history: History) -> None:
    state, line = first_connection(history, deduplicates=False)
    state.take(line, message(1))
    state.take(line, message(1))
    assert len(events(history, Handled)) == 2


def test_a_pong_moves_the_cursor(history: History) -> None:
    state, line = first_connection(history)
    state.take(line, message(2))
    state.take(line, {"type": "pong", "cursor": {"epoch": "x", "offsets": {"1": 8}}})
    assert state.cursor.on_the_wire() == cursor(2, 8)


def test_a_gap_sets_the_cursor_back_too(history: History) -> None:
    state, line = first_connection(history)
    state.take(line, message(2))
    state.take(line, {"type": "gap", "reason": "EPOCH_CHANGED", "cursor": cursor(1, epoch="y")})
    assert state.cursor.on_the_wire() == cursor(1, epoch="y")


def test_a_resume_carries_session_and_cursor_and_is_over_with_replay_complete(
    history: History,
) -> None:
    state, line = first_connection(history)
    state.take(line, message(2))
    line = resumed(state)
    assert line.since == cursor(2, 0)
    was_ready = line.is_ready
    assert not was_ready
    assert state.cursor.on_the_wire() == cursor(2, 0), "auth_success.cursor is not ours: resumed"
    state.take(line, message(3) | {"replayed": True})
    state.take(line, {"type": "replay_complete", "recovered": True, "cursor": cursor(5, 1)})
    assert line.is_ready
    assert state.cursor.on_the_wire() == cursor(5, 1)
    (told,) = events(history, Recovered)
    assert (told.recovered, told.since, told.cursor) == (True, {0: 2, 1: 0}, {0: 5, 1: 1})


def test_a_replay_that_is_not_whole_is_noted_with_its_reason(history: History) -> None:
    state, _ = first_connection(history)
    state.take(
        resumed(state),
        {
            "type": "replay_complete",
            "recovered": False,
            "reason": "TOO_MANY",
            "cursor": cursor(5, 1),
        },
    )
    (told,) = events(history, Recovered)
    assert (told.recovered, told.reason) == (False, "TOO_MANY")
    assert state.cursor.on_the_wire() == cursor(5, 1)


def test_a_session_that_is_not_resumed_is_not_recovered(history: History) -> None:
    state, _ = first_connection(history)
    line = resumed(state, by_server=False)
    assert line.is_ready
    assert state.session_id == "s2"
    assert state.cursor.on_the_wire() == cursor(9, 9)
    (told,) = events(history, Recovered)
    assert (told.recovered, told.reason, told.cursor) == (False, "not resumed", {0: 9, 1: 9})


def test_a_refusal_for_good_is_not_passed_over(history: History) -> None:
    state, line = first_connection(history)
    state.take(line, {"type": "error", "code": "UNAVAILABLE", "temporary": True})
    with pytest.raises(AssertionError, match="FORBIDDEN"):
        state.take(line, {"type": "error", "code": "FORBIDDEN", "temporary": False})


# --- Whole subscribers, against a server that keeps the contract ---------------------------------


async def model_run(history: History, *, skips_one: bool = False) -> tuple[Report, ModelServer]:
    """Publish to subscribers of every habit while their connections break; judge the history."""
    server = ModelServer(history, skips_one=skips_one)
    habits = {
        "stays": Habits(),
        "comes and goes": Habits(stays=(0.05, 0.2), away=(0.02, 0.1)),
        "takes itself over": Habits(stays=(0.05, 0.2)),
    }
    async with server.listening(2), asyncio.TaskGroup() as tasks:
        subscribers = [
            FaultSubscriber(
                SubscriberState(name, history, patterns=["shop.*", "shop.**"], grants=["**"]),
                history,
                server.urls,
                "key",
                habits=habit,
                chance=random.Random(name),
            )
            for name, habit in habits.items()
        ]
        running = [tasks.create_task(subscriber.run()) for subscriber in subscribers]
        await until(lambda: all(subscriber.is_served for subscriber in subscribers))
        for number in range(300):
            server.publish(f"shop.{number % 3}")
            if number % 40 == 39:
                server.break_one()
            await asyncio.sleep(0.005)
        for subscriber in subscribers:
            subscriber.steady = True
        heads = {0: len(server.log)}
        await until(lambda: all(subscriber.has_reached(heads) for subscriber in subscribers))
        resumes = len(server.resumes)
        await asyncio.sleep(0.25)  # longer than any stay: whoever came to stay is not to leave
        assert len(server.resumes) == resumes
        assert all(subscriber.has_reached(heads) for subscriber in subscribers)
        server.audit()
        for task in running:
            task.cancel()
    history.close()
    return check(read_history(history.path)), server


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_against_a_server_that_keeps_the_contract_all_is_green(history: History) -> None:
    report, server = await model_run(history)
    assert report.verdict == "green", str(report)
    assert report.counts["recovered"] == len(server.resumes) > 10
    assert report.counts["received as replayed"] > 10
    assert report.counts["connections broken"] > 3
    assert report.counts["handled"] == 3 * 300


async def test_a_hole_in_a_replay_is_found(history: History) -> None:
    report, _ = await model_run(history, skips_one=True)
    assert report.kinds == {Anomaly.FALSE_RECOVERED}, str(report)
