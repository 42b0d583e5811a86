"""Delays between retries: the curve, the cap, the spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.resilience.backoff import JITTER, RetryPolicy, Strategy, backoff_delay

MIDDLE = 0.5  # the random number that moves nothing

numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
fractions = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        ("exponential", [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
        ("adaptive", [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
        ("linear", [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000]),
        ("fixed", [1_000] * 7),
    ],
)
def test_the_curve_of_each_strategy(strategy: Strategy, delays: list[float]) -> None:
    policy = RetryPolicy(strategy=strategy, jitter=False)
    assert [backoff_delay(attempt, policy, random=0.9) for attempt in range(7)] == delays


@pytest.mark.parametrize(
    ("random", "factor"), [(0.0, 1 - JITTER), (MIDDLE, 1.0), (0.75, 1 + JITTER / 2)]
)
def test_jitter_moves_a_delay_by_its_part(random: float, factor: float) -> None:
    assert backoff_delay(1, RetryPolicy(), random=random) == pytest.approx(2_000 * factor)


def test_jitter_does_not_pass_the_cap() -> None:
    assert backoff_delay(20, RetryPolicy(), random=0.999) == 30_000


def test_a_thousand_doublings_are_the_cap() -> None:
    assert backoff_delay(5_000, RetryPolicy(jitter=False), random=MIDDLE) == 30_000


@pytest.mark.parametrize("attempt", [0, 1, 5_000])
def test_no_initial_delay_is_never_a_delay(attempt: int) -> None:
    assert backoff_delay(attempt, RetryPolicy(initial_delay=0), random=MIDDLE) == 0


@pytest.mark.parametrize(
    ("max_retries", "attempt", "allowed"),
    [(0, 1_000_000, True), (1, 0, True), (1, 1, False), (10, 9, True), (10, 10, False)],
)
def test_retries_end_where_the_policy_says(max_retries: int, attempt: int, allowed: bool) -> None:
    assert RetryPolicy(max_retries=max_retries).allows(attempt) is allowed


@given(
    attempt=st.integers(min_value=0, max_value=5_000),
    initial_delay=numbers,
    max_delay=st.floats(min_value=0, max_value=1e9),
    backoff_multiplier=numbers,
    jitter=st.booleans(),
    strategy=st.sampled_from(["exponential", "linear", "fixed", "adaptive"]),
    random=fractions,
)
def test_any_delay_lies_between_zero_and_the_cap(
    attempt: int,
    initial_delay: float,
    max_delay: float,
    backoff_multiplier: float,
    jitter: bool,
    strategy: Strategy,
    random: float,
) -> None:
    policy = RetryPolicy(
        initial_delay=initial_delay,
        max_delay=max_delay,
        backoff_multiplier=backoff_multiplier,
        jitter=jitter,
        strategy=strategy,
    )
    assert 0 <= backoff_delay(attempt, policy, random=random) <= max_delay


@given(random=fractions, attempt=st.integers(min_value=0, max_value=20))
def test_jitter_stays_within_its_part(random: float, attempt: int) -> None:
    plain = backoff_delay(attempt, RetryPolicy(jitter=False), random=random)
    spread = backoff_delay(attempt, RetryPolicy(), random=random)
    assert plain * (1 - JITTER) <= spread <= plain * (1 + JITTER)
