"""Whether values are spread evenly over a range. Pure."""

from collections.abc import Sequence
from typing import Final

BINS: Final = 10

CRITICAL: Final = 27.88
"""Chi-square with nine degrees of freedom: even values exceed it once in a thousand times."""


def histogram(values: Sequence[float], low: float, high: float, bins: int = BINS) -> list[int]:
    """Count values in equal parts of [low, high]; what lies outside is in the first or last."""
    counts = [0] * bins
    for value in values:
        place = int((value - low) / (high - low) * bins)
        counts[min(max(place, 0), bins - 1)] += 1
    return counts


def chi_square(counts: Sequence[int]) -> float:
    """Return the statistic of counts that should all be equal; 0 without any."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected if expected else 0.0


def bars(counts: Sequence[int], low: float, high: float, width: int = 50) -> list[str]:
    """Draw a histogram, a line for each part, with the milliseconds where it begins."""
    step = (high - low) / len(counts)
    most = max(counts) or 1
    return [
        f"{low + number * step:8.0f} ms {count:5} {'#' * round(count / most * width)}"
        for number, count in enumerate(counts)
    ]
