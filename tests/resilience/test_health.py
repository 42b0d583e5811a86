"""Health: the worst sign counts, within its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.resilience.health import LEAST, Signs, health_of


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (Signs(), 1.0),
        (Signs(connections=0.8, queue=0.25, lag=0.1), 1.0),
        (Signs(connections=0.9), 0.55),
        (Signs(connections=1.0), LEAST),
        (Signs(connections=3.0), LEAST),
        (Signs(queue=0.625), 0.55),
        (Signs(queue=1.0), LEAST),
        (Signs(lag=1.05), 0.55),
        (Signs(lag=60.0), LEAST),
        (Signs(bus_is_behind=True), 0.5),
        (Signs(log_is_away=True), 0.2),
        (Signs(bus_is_behind=True, log_is_away=True, lag=0.2), 0.2),
        (Signs(bus_is_behind=True, queue=1.0), LEAST),
    ],
)
def test_the_worst_sign_counts(signs: Signs, expected: float) -> None:
    assert health_of(signs) == pytest.approx(expected)


shares = st.floats(0, 10)


@given(one=st.tuples(shares, shares, shares), more=st.tuples(shares, shares, shares))
def test_it_never_rises_as_signs_worsen(
    one: tuple[float, float, float], more: tuple[float, float, float]
) -> None:
    worse = tuple(a + b for a, b in zip(one, more, strict=True))
    before, after = (health_of(Signs(connections=a, queue=b, lag=c)) for a, b, c in (one, worse))
    assert LEAST <= after <= before <= 1.0
