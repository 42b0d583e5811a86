"""The page of figures, out of stored lines."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench import render
from bench.render import page, tables
from bench.render.lines import Lines
from bench.render.plots import plots
from bench.render.published import over_centrifuge
from bench.render.svg import bars, curves
from bench.render.targets import TARGETS, Part, targets, verdict
from bench.render.text import number, table

ABOUT = {
    "at": "2026-11-25 10:00",
    "took_seconds": 60.0,
    "machine": {"cores": 2, "processor": "X", "python": "3.11.7", "versions": {"django": "5.2"}},
}


def line(entry: str, benchmark: str, **sides: Any) -> dict[str, Any]:
    settings = sides.pop("settings", {})
    made = {name: {"complete": True, **figures} for name, figures in sides.items()}
    return {"entry": entry, "benchmark": benchmark, "settings": settings, **ABOUT, **made}


def paced(
    ours: float, nats: float = 10.0, baseline: float = 200.0, nchan: float = 6.0
) -> dict[str, Any]:
    figures = {"ours": ours, "nats": nats, "nchan": nchan, "baseline": baseline}
    return line(
        "paced",
        "fanout",
        **{name: {"cpu_us_per_delivery": value} for name, value in figures.items()},
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (12345.6, "12,346"), (99.96, "100.0"), (12.34, "12.3"), (0.0412, "0.04")],
)
def test_a_figure_has_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_table() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_a_figure_of_incomplete_rounds_is_none() -> None:
    stored = paced(5.0)
    stored["nats"]["complete"] = False
    lines = Lines([stored])
    assert lines.figure("paced", "ours", "cpu_us_per_delivery") == 5.0
    assert lines.figure("paced", "nats", "cpu_us_per_delivery") is None
    assert lines.quotient("paced", "ours", "nats", "cpu_us_per_delivery") is None
    assert lines.figure("nowhere", "ours", "cpu_us_per_delivery") is None


def test_ours_comes_first_then_the_baseline_then_peers() -> None:
    stored = paced(5.0) | {"ratios": {"nats": 2.0}}
    assert Lines([stored]).sides("paced") == ["ours", "baseline", "nats", "nchan"]


def test_the_chain_to_centrifuge_multiplies_two_quotients() -> None:
    assert over_centrifuge(0.5, "nats", "paced_cpu") == pytest.approx(0.5 * 14.6 / 11.8)
    assert over_centrifuge(None, "nats", "paced_cpu") is None


@pytest.mark.parametrize(
    ("ours", "nchan", "met"),
    # NATS is 10, Centrifuge by it 8.08; by nchan at 6.0 it is 8.63, at 4.0 it is 5.76.
    [(5.0, 6.0, "yes"), (6.0, 6.0, "**no**"), (5.0, 4.0, "**no**"), (10.5, 6.0, "**no**")],
)
def test_the_first_target_needs_all_quotients(ours: float, nchan: float, met: str) -> None:
    parts = TARGETS[0].judge(Lines([paced(ours, nchan=nchan)]))
    assert verdict(parts) == met
    assert [part.met for part in parts] == [
        ours <= 10,
        ours <= 0.7 * 10 * 11.8 / 14.6,
        ours <= 0.7 * nchan * 11.8 / 8.2,
    ]


def test_a_missed_condition_decides_before_one_that_was_not_measured() -> None:
    assert verdict([Part("", True), Part("", None)]) == "–"
    assert verdict([Part("", False), Part("", None)]) == "**no**"


def test_flatness_is_judged_by_the_floor_of_the_same_run() -> None:
    def judged(ours: float, patterns: float) -> list[bool | None]:
        lines = Lines(
            [
                line("large", "flat", ours={"growth": ours}, floor={"growth": 1.5}),
                line("patterns", "flat", ours={"growth_overall": patterns}),
            ]
        )
        return [part.met for part in next(x for x in TARGETS if x.name == "T8").judge(lines)]

    assert judged(1.79, 1.2) == [True, True]
    assert judged(1.81, 0.79) == [False, False]


def test_resuming_is_judged_by_its_slower_case() -> None:
    stored = {
        "entry": "resume",
        "complete": True,
        "replay_reads": 90,
        "log_reads": 0,
        "settings": {"topics": 50},
    }
    lines = Lines(
        [
            line("connect", "connect", ours={"resume_connects_per_second": 1200}),
            stored | {"mode": "restarted", "seconds": 16.0},
            stored | {"mode": "warm", "seconds": 4.0, "log_reads": 20},
        ]
    )
    judge = next(x for x in TARGETS if x.name == "T7").judge
    assert [part.met for part in judge(lines)] == [True, False, True, True, False]


def test_clients_that_are_cut_off_have_a_table() -> None:
    stored = {
        "entry": "reconnect",
        "complete": True,
        "cut": 1000,
        "recovered": 1000,
        "back_p50_ms": 4321.0,
        "back_max_ms": 5432.1,
        "chi_square": 6.16,
        "server_core_busy": 0.25,
        "load_core_busy": 0.9,
        "cpu_ms_per_client": 2.2,
    }
    [row] = tables.reconnect(Lines([stored])).splitlines()[2:]
    assert row == "| 1,000 | 1,000 | 4,321 | 5,432 | 6.16 | 25.0 | 90.0 | 2.20 |"
    assert "4,321" not in tables.reconnect(Lines([stored | {"complete": False}]))
    assert "Not measured yet" in tables.reconnect(Lines([]))


def test_without_lines_everything_is_said_to_be_unmeasured() -> None:
    lines = Lines([])
    assert "**no**" not in targets(lines)
    assert all(verdict(target.judge(lines)) == "–" for target in TARGETS)
    assert "Not measured yet" in tables.paced(lines)
    assert plots(lines) == {}


def test_the_machine_and_how_busy_it_was() -> None:
    one, two = paced(5.0) | {"load_average": 0.4}, paced(5.0) | {"load_average": 2.5}
    two |= {"entry": "saturated", "took_seconds": 120.0, "at": "2026-11-25 10:02"}
    said = tables.machine(Lines([one, two]))
    assert "2 cores of X; Python 3.11.7, django 5.2" in said
    assert "from 2026-11-25 10:00 to 2026-11-25 10:02 UTC; the commands took 3 minutes" in said
    assert said.endswith("The load average before each was 0.4 to 2.5.")
    assert "load average" not in tables.machine(Lines([paced(5.0)]))
    other = paced(5.0) | {
        "entry": "reconnect",
        "machine": paced(5.0)["machine"] | {"processor": "Y"},
    }
    said = tables.machine(Lines([one, two, other]))
    assert said.startswith("2 cores of X;")
    assert said.endswith("On another machine: reconnect (2 cores of Y).")


@pytest.mark.parametrize(("kept", "said"), [(True, "yes"), (False, "**no**"), (None, "–")])
def test_whoever_did_not_keep_the_pace_is_named(kept: bool | None, said: str) -> None:
    stored = paced(5.0)
    stored["ours"]["kept_pace"] = kept
    ours = tables.paced(Lines([stored])).splitlines()[2]
    assert ours.startswith("| Bellwether |")
    assert ours.endswith(f"| {said} |")


def test_what_stands_between_markers_is_replaced_and_the_rest_stays() -> None:
    text = "above\n<!-- bench: paced -->\nold\n<!-- /bench -->\nbelow\n"
    once = page.rendered(text, Lines([paced(5.0)]))
    assert once.startswith("above\n<!-- bench: paced -->\n| server |")
    assert once.endswith("|\n<!-- /bench -->\nbelow\n")
    assert "old" not in once
    assert page.rendered(once, Lines([paced(5.0)])) == once


def test_a_marker_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError):
        page.rendered("<!-- bench: nothing -->\n<!-- /bench -->", Lines([]))


def widths(svg: str) -> list[float]:
    rects = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")
    return [float(rect.attrib["width"]) for rect in rects]


def test_bars_are_as_long_as_their_values_while_those_are_close() -> None:
    short, long = widths(bars("t", "n", {"a": 10.0, "b": 5.0}, ours="a"))
    assert short / long == pytest.approx(0.5, abs=0.01)


def test_bars_that_differ_widely_are_logarithmic_and_say_so() -> None:
    svg = bars("t", "n", {"a": 1.0, "b": 10.0, "c": 1000.0}, ours="a")
    one, two, three = widths(svg)
    assert 0.05 < one / three < two / three < 0.5
    assert "logarithmic" in svg


def test_curves_go_through_their_points_in_order() -> None:
    svg = curves("t & u", "n", {"a": [(100, 5.0), (1000, 6.0)], "b": [(100, 50.0)]}, ours="a")
    tree = ET.fromstring(svg)
    [first, _] = tree.iter("{http://www.w3.org/2000/svg}polyline")
    places = [tuple(map(float, point.split(","))) for point in first.attrib["points"].split()]
    assert places[0][0] < places[1][0]
    assert places[0][1] > places[1][1]  # up is less in SVG


def test_the_page_is_what_its_lines_say() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    lines = Lines(json.loads(text) for text in render.STORED.read_text().splitlines())
    written = (docs / "performance.md").read_text()
    assert page.rendered(written, lines) == written, "run python -m bench.render"
    drawn = plots(lines)
    assert {path.name for path in (docs / "performance").glob("*.svg")} == set(drawn)
    for name, text in drawn.items():
        assert (docs / "performance" / name).read_text() == text
        assert f"performance/{name}" in written


def test_a_burst_is_told_by_what_was_sent() -> None:
    figures = {
        "capacity_per_second": 9000.0,
        "messages_per_second": 10_000.0,
        "times": 9.5,
        "requests_taken": 3000,
        "requests_refused": 25_500,
        "without_retry_after": 0,
        "requests_not_sent": 7,
        "peak_rss_growth_kib": 2048.0,
        "drained_seconds": 0.5,
    }
    [row] = tables.burst(Lines([line("burst", "publish", ours=figures)])).splitlines()[2:]
    assert row.startswith("| Bellwether | 9,000 | 10,000 | 9.50 | 3,000 | 25,500 |")
    assert row.endswith("| 0 | 7 | 2.00 | 0.50 |")


def test_readers_that_keep_up_beside_slow_ones_have_a_table() -> None:
    figures = {
        "alone_p99_ms": 10.0,
        "beside_p99_ms": 15.0,
        "p99_times": 1.5,
        "p99_times_most": 1.75,
        "reset_while_blocked": 100,
        "closed_slow": 140,
        "peak_rss_growth_kib": 51_200.0,
        "bound_kib": 204_800.0,
        "back_seconds": 0.25,
        "kept_pace": True,
    }
    stored = line("slow", "slow", ours=figures)
    [row] = tables.slow(Lines([stored])).splitlines()[2:]
    assert row == (
        "| Bellwether | 10.0 | 15.0 | 1.50 | 1.75 | 100 | 140 | 50.0 | 200 | 0.25 | yes |"
    )
    stored["ours"]["complete"] = False
    assert "1.50" not in tables.slow(Lines([stored]))


def test_deliveries_that_filled_the_loads_core_are_a_least() -> None:
    figures = {"deliveries_per_second": 3_000_000.0, "load_core_busy": 1.1}
    stored = line("saturated", "fanout", ours=figures, nats=figures | {"load_core_busy": 0.5})
    ours, nats = tables.saturated(Lines([stored])).splitlines()[2:]
    assert "| ≥ 3,000,000 |" in ours
    assert "| 3,000,000 |" in nats


def test_targets_near_their_bounds_say_how_far_their_figures_vary() -> None:
    rounds = [{"times_one": value} for value in (1.75, 1.81, 1.9)]
    idle = {
        "server_core_busy": 0.049,
        "server_core_busy_least": 0.047,
        "server_core_busy_most": 0.052,
    }
    lines = Lines(
        [
            line("scale", "scale", ours={"times_one": 1.81, "rounds": rounds}),
            line("large", "idle", ours=idle),
        ]
    )
    nine, ten = (next(x for x in TARGETS if x.name == name).judge(lines) for name in ("T9", "T10"))
    assert nine == [Part("one process × 1.81 (≥ 1.80); its rounds 1.75 to 1.90", True)]
    assert ten[0].says.endswith("(≤ 5.00 % of a core); thirds of the time 4.70 to 5.20")


@pytest.mark.parametrize(("users", "who"), [(0, "one API key"), (1000, "tokens of 1,000 users")])
def test_coming_back_says_what_the_clients_have(users: int, who: str) -> None:
    settings = {"users": users}
    figures = {"resume_connects_per_second": 1200}
    stored = line("connect", "connect", ours=figures, settings=settings)
    parts = next(x for x in TARGETS if x.name == "T7").judge(Lines([stored]))
    assert parts[0].says.startswith(f"resumes, {who}, 1,200")
