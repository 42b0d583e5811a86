"""Percentiles of what was measured."""

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` % of the values do not exceed.

    ordered: ascending, not empty. Nearest rank: the answer is always a value that occurred.
    """
    if not ordered:
        raise ValueError("no values, no percentile")
    if not 0 < percent <= 100:
        raise ValueError(f"a percentile lies in (0, 100], not at {percent}")
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]


def summary(micros: list[int]) -> dict[str, float | None]:
    """Return p50, p99 and max of durations in microseconds, as milliseconds; None without any."""
    if not micros:
        return {"p50_ms": None, "p99_ms": None, "max_ms": None}
    ordered = sorted(micros)
    return {
        "p50_ms": percentile(ordered, 50) / 1000,
        "p99_ms": percentile(ordered, 99) / 1000,
        "max_ms": ordered[-1] / 1000,
    }
