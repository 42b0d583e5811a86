"""A place in a partition: every record once, in order, whatever the bus does."""

import random

from hypothesis import given
from hypothesis import strategies as st

from notifications.hub.place import EARLY_BOUND, Place
from notifications.log.records import Record
from tests.records import record


def place_at(offset: int) -> Place:
    place = Place()
    place.begin(offset)
    return place


def offsets(records: list[Record]) -> list[int]:
    return [one.offset for one in records]


def test_the_next_records_are_due_at_once() -> None:
    place = place_at(4)
    assert offsets(place.offer([record(5), record(6)])) == [5, 6]
    assert place.offset == 6


def test_repeats_are_dropped() -> None:
    place = place_at(4)
    place.offer([record(5)])
    assert place.offer([record(4), record(5)]) == []
    assert not place.has_hole


def test_a_repeat_with_news_brings_only_the_news() -> None:
    place = place_at(5)
    assert offsets(place.offer([record(4), record(5), record(6)])) == [6]


def test_early_records_wait_for_those_before_them() -> None:
    place = place_at(0)
    assert place.offer([record(3)]) == []
    assert place.has_hole
    assert offsets(place.offer([record(1), record(2)])) == [1, 2, 3]
    assert not place.has_hole


def test_the_log_fills_a_hole() -> None:
    place = place_at(0)
    place.offer([record(3)])
    assert offsets(place.fill([record(1), record(2)], up_to=2)) == [1, 2, 3]


def test_what_the_log_does_not_bring_was_purged() -> None:
    place = place_at(0)
    place.offer([record(6)])
    assert offsets(place.fill([record(5)], up_to=5)) == [5, 6]
    assert place.offset == 6


def test_a_fill_that_comes_late_repeats_nothing() -> None:
    place = place_at(0)
    place.offer([record(1), record(2)])
    assert place.fill([record(1), record(2)], up_to=2) == []


def test_before_it_begins_everything_waits() -> None:
    place = Place()
    assert place.offer([record(7), record(8)]) == []
    assert offsets(place.begin(7)) == [8]


def test_early_records_are_bounded() -> None:
    place = place_at(0)
    place.offer([record(offset) for offset in range(2, EARLY_BOUND + 100)])
    assert offsets(place.offer([record(1)])) == list(range(1, EARLY_BOUND + 2))
    assert not place.has_hole


@given(st.integers(0, 2**32), st.integers(1, 40), st.data())
def test_any_order_of_hints_and_fills_gives_each_record_once_in_order(
    seed: int, head: int, data: st.DataObject
) -> None:
    chance = random.Random(seed)
    log = [record(offset) for offset in range(1, head + 1)]
    start = data.draw(st.integers(0, head))
    place = Place()
    given_out: list[Record] = []
    hints = []
    at = 0
    while at < head:
        size = chance.randint(1, 5)
        hints.append(log[at : at + size])
        at += size
    deliveries = [hint for hint in hints if chance.random() > 0.3]  # some are lost
    deliveries += [hint for hint in hints if chance.random() < 0.3]  # some come twice
    chance.shuffle(deliveries)
    begin_at = chance.randint(0, len(deliveries))
    for number, hint in enumerate(deliveries):
        if number == begin_at:
            given_out += place.begin(start)
        given_out += place.offer(hint)
        if place.is_open and chance.random() < 0.2:
            before = place.offset
            given_out += place.fill(log[before:], up_to=head)
    if not place.is_open:
        given_out += place.begin(start)
    given_out += place.fill(log[place.offset :], up_to=head)
    assert offsets(given_out) == list(range(start + 1, head + 1))
    assert not place.has_hole
