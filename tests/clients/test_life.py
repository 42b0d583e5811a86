"""What is asked of a client's life: each thing that can be wrong with one is found."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.clients.fault_proxy import Cut, Passage, Reset
from tests.clients.feed import TOPICS
from tests.clients.life import Life

ONE, TWO = TOPICS


def whole_life() -> Life:
    """Return a life with one cut, in which all was well."""
    passages = [
        Passage(Cut(3, 0), frames=3, answered=True, struck=True),
        Passage(None, frames=9, answered=True),
    ]
    proxy, feed = SimpleNamespace(passages=passages), SimpleNamespace()
    life = Life(cast(Any, None), cast(Any, proxy), cast(Any, feed), "one")
    life.since = {ONE: 5, TWO: 7}
    life.until = {ONE: 9, TWO: 9}
    states = ["connecting", "connected", "reconnecting", "connecting", "connected"]
    for status in (*states, "connected", "disconnected"):  # the last but one was asked for
        life.seen.take({"state": status}, life.name)
    for name, topic, first in (("one", ONE, 6), ("all", ONE, 4), ("all", TWO, 8)):
        for number in range(first, 11):
            life.seen.take(
                {"got": {"topic": topic, "n": number}, "by": f"{name} {life.name}"}, life.name
            )
    life.seen.take({"event": "recovered", "count": 2}, life.name)
    life.seen.take({"call": "connect", "ok": True}, life.name)
    life.seen.take({"ready": "one"}, life.name)
    return life


def test_a_life_in_which_all_was_well_passes() -> None:
    whole_life().check()


def lose(life: Life) -> None:
    life.seen.got["one", ONE].remove(8)


def repeat(life: Life) -> None:
    life.seen.got["all", TWO].insert(1, 8)


def swap(life: Life) -> None:
    numbers = life.seen.got["one", ONE]
    numbers[1], numbers[2] = numbers[2], numbers[1]


def miss_the_beginning(life: Life) -> None:
    del life.seen.got["one", ONE][:2]


def miss_the_end(life: Life) -> None:
    life.until[TWO] = 11


def get_what_is_not_wanted(life: Life) -> None:
    life.seen.take({"got": {"topic": TWO, "n": 1}, "by": f"one {life.name}"}, life.name)


def skip_a_state(life: Life) -> None:
    del life.seen.states[3]


def say_connected_without_an_answer(life: Life) -> None:
    life.passages[0].answered = False


def not_notice_a_cut(life: Life) -> None:
    life.passages[1].struck = True


def end_otherwise(life: Life) -> None:
    life.seen.states.pop()


def tell_of_a_gap(life: Life) -> None:
    life.seen.take({"event": "gap", "reason": "SESSION_LOST"}, life.name)


def have_a_publish_refused(life: Life) -> None:
    life.seen.take({"call": "p1", "failed": "EXPIRED"}, life.name)


@pytest.mark.parametrize(
    "wrong",
    [
        lose,
        repeat,
        swap,
        miss_the_beginning,
        miss_the_end,
        get_what_is_not_wanted,
        skip_a_state,
        say_connected_without_an_answer,
        not_notice_a_cut,
        end_otherwise,
        tell_of_a_gap,
        have_a_publish_refused,
    ],
)
def test_what_is_wrong_is_found(wrong: Callable[[Life], None]) -> None:
    life = whole_life()
    wrong(life)
    with pytest.raises(AssertionError):
        life.check()


def test_a_reset_may_throw_an_answer_away() -> None:
    life = whole_life()
    life.passages[0].fault = Reset(3)
    del life.seen.states[1:3]  # tried, tried again
    life.seen.states.insert(1, {"state": "reconnecting"})
    life.check()
