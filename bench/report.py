"""The result: medians over rounds, a ratio, one JSON line."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

Figures = Mapping[str, Any]
_SHOWN: Final = ("django", "channels", "channels-redis", "uvicorn", "uvloop", "websockets")
_DIGITS: Final = 4


def _rounded(value: float) -> float:
    """Cut to the digits that a measurement has."""
    return float(f"{value:.{_DIGITS}g}") if abs(value) < 10**_DIGITS else float(round(value))


def medians(rounds: Sequence[Figures]) -> dict[str, Any]:
    """Return the median of each figure, and the rounds themselves.

    A flag is true when it was in every round; a figure that one round lacks (None) is None; what
    is no number (such as counts of statuses) stands only in the rounds.
    """
    result: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in rounds for name in each):
        values: list[Any] = [each.get(name) for each in rounds]
        if all(isinstance(value, bool) for value in values):
            result[name] = all(values)
        elif any(value is None for value in values):
            result[name] = None
        elif all(isinstance(value, int) for value in values):
            result[name] = statistics.median_low(values)
        elif all(isinstance(value, int | float) for value in values):
            result[name] = _rounded(statistics.median(values))
    result["rounds"] = [
        {
            name: _rounded(value) if isinstance(value, float) else value
            for name, value in each.items()
        }
        for each in rounds
    ]
    return result


def ratio(dividend: float | None, divisor: float | None) -> float | None:
    """Divide two medians; None when one is missing or nothing was measured."""
    return _rounded(dividend / divisor) if dividend and divisor else None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def result(
    benchmark: str,
    *,
    settings: Figures,
    sides: Mapping[str, Sequence[Figures]],
    ratio_of: str,
    larger_is_better: bool,
) -> dict[str, Any]:
    """Build the object that a benchmark prints.

    sides: the rounds of `ours`, of `baseline` and of peers; any may be missing.
    ratio_of: the figure to compare. `ratio` says how many times better ours is than the baseline,
    so above 1 is good whichever way the figure points; `ratios` the same for the peers.
    """
    summaries = {name: medians(rounds) for name, rounds in sides.items()}
    ours = summaries.get("ours", {}).get(ratio_of)

    def better(than: str) -> float | None:
        theirs = summaries.get(than, {}).get(ratio_of)
        return ratio(ours, theirs) if larger_is_better else ratio(theirs, ours)

    peers = [name for name in summaries if name not in ("ours", "baseline")]
    return {
        "benchmark": benchmark,
        "complete": all(summary["complete"] for summary in summaries.values()),
        "ratio": better("baseline"),
        "ratio_of": ratio_of,
        **({"ratios": {name: better(name) for name in peers}} if peers else {}),
        **summaries,
        "settings": dict(settings),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Describe what a benchmark runs on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _SHOWN},
    }


def emit(printed: Figures) -> None:
    """Print a result as the one line on stdout."""
    sys.stdout.write(json.dumps(printed, separators=(",", ":")) + "\n")
    sys.stdout.flush()
