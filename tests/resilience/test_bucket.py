"""The token bucket: bursts, the steady rate, and what it says of the wait."""

from hypothesis import given
from hypothesis import strategies as st

from notifications.resilience.bucket import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket(10, 3, now=100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == 0.1
    assert round(bucket.take(100.06), 6) == 0.04
    assert bucket.take(100.11) == 0.0
    assert bucket.take(200.0) == 0.0, "and no more than the burst gathers"
    assert [bucket.take(200.0) for _ in range(2)] == [0.0, 0.0]
    assert bucket.take(200.0) == 0.1


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 50),
    st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_the_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    now = 0.0
    bucket = TokenBucket(rate, burst, now=now)
    taken = 0
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        taken += not wait
        assert taken <= burst + now * rate + 1e-6
        assert wait >= 0.0
        if wait:
            assert wait <= 1 / rate + 1e-6
