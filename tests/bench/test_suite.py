"""The list of benchmarks, and the lines that they leave."""

import importlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench import connect, fanout, flat, idle, large, latency, memory, scale, slow, suite
from bench.report import result


@pytest.mark.parametrize("entry", suite.ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_is_a_command_that_takes_these_options(entry: suite.Entry) -> None:
    module, *arguments = shlex.split(entry.command)
    importlib.import_module(module).options(arguments)


def test_new_lines_take_the_place_of_the_entrys_old_ones() -> None:
    old: list[dict[str, Any]] = [
        {"entry": "resume", "n": 1},
        {"entry": "paced", "n": 2},
        {"entry": "gone from the list", "n": 3},
        {"entry": "resume", "n": 4},
    ]
    new = [{"entry": "resume", "n": 5}]
    assert [line["n"] for line in suite.replaced(old, new, "resume")] == [2, 5]


def command_of(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "told.py").write_text(f"import sys, time\n{body}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "told"


async def test_a_line_is_stored_with_the_command_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = command_of("print('{\"complete\": true}')", tmp_path, monkeypatch)
    [line] = await suite.play(suite.Entry("told", command, 30), quick=True)
    assert (line["entry"], line["command"], line["complete"]) == (
        "told",
        "python -m told --quick",
        True,
    )


async def test_incomplete_figures_are_kept_and_those_of_a_failure_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "print('{\"complete\": false}'); sys.exit(int(sys.argv[1]))"
    command = command_of(body, tmp_path, monkeypatch)
    kept = await suite.play(suite.Entry("told", f"{command} 1", 30), quick=False)
    assert [line["complete"] for line in kept] == [False]
    assert await suite.play(suite.Entry("told", f"{command} 2", 30), quick=False) == []


async def test_a_command_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = command_of("time.sleep(600)", tmp_path, monkeypatch)
    assert await suite.play(suite.Entry("told", command, 0.2), quick=False) == []
    assert "told: not done after" in capfd.readouterr().err


def test_lines_are_written_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    suite.write(path, [{"entry": "paced"}, {"entry": "resume"}])
    assert [json.loads(text)["entry"] for text in path.read_text().splitlines()] == [
        "paced",
        "resume",
    ]
    assert suite.stored(path) == [{"entry": "paced"}, {"entry": "resume"}]
    assert [one.name for one in path.parent.iterdir()] == ["results.jsonl"]


def test_a_quick_run_leaves_the_page_alone() -> None:
    assert suite.options(["--quick"]).results != suite.options([]).results


# --- what is asked for, and what is made of it ----------------------------------------------------


def step(cost: float, **changed: Any) -> dict[str, Any]:
    made = {"complete": True, "cpu_us_per_delivery": cost, "p99_ms": 1.0, "kept_pace": True}
    return made | {"load_core_busy": 0.1} | changed


def test_flatness_compares_the_last_step_with_the_one_before_and_with_the_first() -> None:
    figures = flat.flatness([step(8.0), step(5.0), step(10.0)], [100, 1000, 10_000])
    assert (figures["growth"], figures["growth_overall"]) == (2.0, 1.25)
    assert figures["cpu_us_at_1000"] == 5.0
    assert figures["complete"] is True
    assert flat.flatness([step(1.0), step(1.0, complete=False)], [1, 2])["complete"] is False


def test_each_step_has_the_same_deliveries_a_second() -> None:
    chosen = flat.options(["--seconds", "5"])
    few, many = flat.load_of(chosen, "ours", 100), flat.load_of(chosen, "ours", 10_000)
    assert few.subscribers * (few.rate or 0) == many.subscribers * (many.rate or 0) == 50_000
    assert flat.load_of(chosen, "baseline", 10_000).messages == 3


def test_patterns_are_asked_of_ours_alone() -> None:
    chosen = flat.options(["--by", "patterns", "--peer", "nats"])
    assert (chosen.only, chosen.peer, chosen.steps) == ("ours", [], [10, 1000, 100_000])


def test_single_messages_are_joined_into_one_round() -> None:
    one = {"complete": True, "expected": 10, "received": 10, "wrong_subscribers": 0, "seconds": 0.5}
    one |= {"failed_publishes": 0}
    joined = fanout.joined([one | {"last_ms": ms} for ms in (30.0, 10.0, 20.0)])
    assert (joined["expected"], joined["seconds"], joined["last_ms"]) == (30, 1.5, 20.0)
    assert "rounds" not in joined


def test_one_message_goes_to_ten_thousand() -> None:
    load = fanout.load_of(fanout.options(["--mode", "one"]), "ours")
    assert (load.subscribers, load.messages, load.rate) == (10_000, 10, None)


@pytest.mark.parametrize(
    "module", [connect, fanout, flat, idle, large, latency, memory, scale, slow]
)
def test_quick_is_one_round(module: Any) -> None:
    assert module.options(["--quick"]).rounds == 1


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (connect, ["--clients", "20"]),
        (memory, ["--connections", "999"]),
        (flat, ["--steps", "100", "100"]),
        (large, ["--steps", "100", "50", "200"]),
        (scale, ["--subscribers", "40"]),
    ],
)
def test_what_cannot_be_measured_is_refused(module: Any, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        module.options(arguments)


def test_peers_have_ratios_and_one_that_failed_makes_the_line_incomplete() -> None:
    made = result(
        "fanout",
        settings={},
        sides={
            "ours": [{"complete": True, "cpu": 5.0}],
            "nats": [{"complete": True, "cpu": 10.0}],
            "nchan": [{"complete": False, "failed": "no"}],
        },
        ratio_of="cpu",
        larger_is_better=False,
    )
    assert (made["ratio"], made["ratios"]) == (None, {"nats": 2.0, "nchan": None})
    assert made["complete"] is False
