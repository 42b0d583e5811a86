"""Percentiles by nearest rank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.percentiles import percentile, summary

PERCENTS = st.integers(1, 100)


@given(st.lists(st.integers(0, 9), min_size=1).map(sorted), PERCENTS)
def test_it_is_the_smallest_value_that_enough_do_not_exceed(
    ordered: list[int], percent: int
) -> None:
    def covers(value: int) -> bool:
        return sum(each <= value for each in ordered) * 100 >= percent * len(ordered)

    assert percentile(ordered, percent) == min(filter(covers, ordered))


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_it_lies_within_0_and_100(percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile([1.0], percent)


def test_no_values_have_none() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    assert summary([]) == {"p50_ms": None, "p99_ms": None, "max_ms": None}


def test_a_summary_is_in_milliseconds() -> None:
    micros = [1000 * n for n in range(100, 0, -1)]
    assert summary(micros) == {"p50_ms": 50, "p99_ms": 99, "max_ms": 100}
