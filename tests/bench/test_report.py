"""The one line on stdout."""

import json
from typing import Any

import pytest

from bench import fanout, publish
from bench.report import emit, medians, ratio, result


def figures(**changed: Any) -> dict[str, Any]:
    return {"complete": True, "cpu": 10.0, "received": 5, "p50_ms": 1.5, "statuses": {}} | changed


def test_medians_of_each_figure() -> None:
    rounds = [figures(cpu=1.0, received=4), figures(cpu=9.0), figures(cpu=2.0)]
    summary = medians(rounds)
    assert summary["cpu"] == 2.0
    assert summary["received"] == 5
    assert summary["complete"] is True
    assert "statuses" not in summary
    assert [each["cpu"] for each in summary["rounds"]] == [1.0, 9.0, 2.0]


def test_one_incomplete_round_is_enough() -> None:
    assert medians([figures(), figures(complete=False)])["complete"] is False


def test_a_figure_that_a_round_lacks_has_no_median() -> None:
    assert medians([figures(), figures(cpu=None)])["cpu"] is None


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"),
    [(200.0, 8.0, 25.0), (1.0, 3.0, 0.3333), (None, 8.0, None), (1.0, None, None), (1.0, 0, None)],
)
def test_ratio(dividend: float | None, divisor: float | None, expected: float | None) -> None:
    assert ratio(dividend, divisor) == expected


@pytest.mark.parametrize(("larger_is_better", "expected"), [(False, 20.0), (True, 0.05)])
def test_a_ratio_above_one_means_that_ours_is_better(
    larger_is_better: bool, expected: float
) -> None:
    printed = result(
        "fanout",
        settings={},
        sides={"ours": [figures(cpu=10.0)], "baseline": [figures(cpu=200.0)]},
        ratio_of="cpu",
        larger_is_better=larger_is_better,
    )
    assert printed["ratio"] == expected


def test_the_line_has_its_shape(capsys: pytest.CaptureFixture[str]) -> None:
    emit(
        result(
            "fanout",
            settings={"rounds": 1},
            sides={"ours": [figures(complete=False)]},
            ratio_of="cpu",
            larger_is_better=False,
        )
    )
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    printed = json.loads(out)
    assert list(printed) == [
        "benchmark",
        "complete",
        "ratio",
        "ratio_of",
        "ours",
        "settings",
        "machine",
    ]
    assert (printed["complete"], printed["ratio"]) == (False, None)
    assert {"cores", "processor", "python", "versions"} <= set(printed["machine"])


def test_fanout_gives_each_side_its_pace() -> None:
    chosen = fanout.options(["--seconds", "4", "--rate", "50", "--baseline-rate", "5"])
    ours, baseline = fanout.load_of(chosen, "ours"), fanout.load_of(chosen, "baseline")
    assert (ours.messages, ours.rate) == (200, 50)
    assert (baseline.messages, baseline.rate) == (20, 5)


def test_saturated_has_no_rate() -> None:
    chosen = fanout.options(["--mode", "saturated", "--messages", "70"])
    assert fanout.load_of(chosen, "ours")[1:3] == (70, None)


def test_quick_is_one_round() -> None:
    assert fanout.options(["--quick"]).rounds == publish.options(["--quick"]).rounds == 1


def test_fanout_needs_more_than_its_first_connections(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fanout.options(["--subscribers", "20"])
    assert "more than 20" in capsys.readouterr().err
