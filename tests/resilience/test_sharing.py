"""A bound that holders share: nobody alone fills it, and what is counted adds up."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from notifications.resilience.sharing import Room, SharedBound


def fill(shared: SharedBound, holders: list[str]) -> Counter[str]:
    """Let holders take one each in turn until none may have more."""
    got: Counter[str] = Counter()
    while True:
        before = got.total()
        for holder in holders:
            if shared.room(holder, 1) is Room.FREE:
                shared.take(holder, 1)
                got[holder] += 1
        if got.total() == before:
            return got


def test_one_alone_gets_half() -> None:
    shared = SharedBound(100)
    assert fill(shared, ["a"]) == {"a": 50}
    assert shared.room("a", 1) is Room.OVER_SHARE
    assert shared.room("b", 50) is Room.FREE
    assert shared.room("b", 51) is Room.FULL


def test_those_who_are_greedy_share_and_leave_something() -> None:
    got = fill(SharedBound(100), ["a", "b", "c"])
    assert set(got.values()) == {25}


def test_one_that_comes_after_a_greedy_one_gets_as_much_as_is_left_to_share() -> None:
    shared = SharedBound(100)
    fill(shared, ["a"])
    assert fill(shared, ["b"]) == {"b": 25}


def test_one_batch_is_no_greed() -> None:
    shared = SharedBound(100)
    assert shared.room("a", 100) is Room.FREE
    assert shared.room("a", 101) is Room.FULL


def test_what_is_given_back_is_free_again() -> None:
    shared = SharedBound(2)
    shared.take("a", 2)
    assert shared.room("b", 1) is Room.FULL
    shared.give_back("a", 2)
    assert (shared.used, shared._held) == (0, {})
    assert shared.room("b", 2) is Room.FREE


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.booleans())))
def test_it_never_holds_more_than_its_bound_and_the_sum_is_right(
    steps: list[tuple[str, int, bool]],
) -> None:
    shared = SharedBound(50)
    held: Counter[str] = Counter()
    for holder, amount, takes in steps:
        if takes and shared.room(holder, amount) is Room.FREE:
            assert held[holder] == 0 or held[holder] + amount <= 50 - held.total()
            shared.take(holder, amount)
            held[holder] += amount
        elif not takes and held[holder] >= amount:
            shared.give_back(holder, amount)
            held[holder] -= amount
        assert shared.used == held.total() <= 50
        assert shared._held == +held
