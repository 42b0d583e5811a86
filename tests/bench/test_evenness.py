"""Whether values are spread evenly: even ones pass, the usual mistakes do not."""

import random

import pytest

from bench.load.evenness import CRITICAL, bars, chi_square, histogram

LOW, HIGH = 700.0, 1300.0


def drawn(count: int = 1000) -> list[float]:
    chance = random.Random(7)
    return [chance.uniform(LOW, HIGH) for _ in range(count)]


def test_a_histogram_counts_each_value_once() -> None:
    assert histogram([0, 0.9, 1, 5, 9.9, 10], 0, 10) == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert histogram([-3, 99], 0, 10) == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_even_values_pass() -> None:
    assert chi_square(histogram(drawn(), LOW, HIGH)) < CRITICAL


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([1000.0] * 1000, id="no jitter"),
        pytest.param([1000 + (one - 1000) / 2 for one in drawn()], id="half the jitter"),
        pytest.param([(one + 1000) / 2 for one in drawn()], id="one-sided halves"),
        pytest.param([min(one, 1000.0) for one in drawn()], id="clamped at the delay"),
        pytest.param([one * 1.3 for one in drawn()], id="too wide"),
    ],
)
def test_what_is_not_even_does_not_pass(values: list[float]) -> None:
    assert chi_square(histogram(values, LOW, HIGH)) > CRITICAL


def test_nothing_is_even() -> None:
    assert chi_square([0] * 10) == 0


def test_bars_are_as_long_as_their_counts() -> None:
    assert bars([1, 2, 0], 0, 300, width=4) == [
        "       0 ms     1 ##",
        "     100 ms     2 ####",
        "     200 ms     0 ",
    ]
