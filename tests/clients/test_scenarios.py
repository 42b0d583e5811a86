"""The scenarios themselves, and that a client which does something else is found out."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.clients import NEEDS_NODE
from tests.clients.normal import Normal
from tests.clients.scenario import Scenario, Step, play, scenarios

SCENARIOS = {scenario.name: scenario for scenario in scenarios()}

# What can be wrong with a step of `first_connection`: a changed one, one too many, one too few.
WRONG: dict[str, tuple[Step, list[Step]]] = {
    "another frame": (
        {"frame": {"type": "subscribe", "id": "#1", "topic": "a.b"}},
        [{"frame": {"type": "subscribe", "id": "#1", "topic": "a.c"}}],
    ),
    "a frame that is not expected": (
        {"frame": {"type": "closed", "code": 1000}},
        [],
    ),
    "another message": ({"seen": {"got": 2, "by": "s1"}}, [{"seen": {"got": 3, "by": "s1"}}]),
    "an observation that is not expected": ({"seen": {"active": "s1", "is": True}}, []),
    "the wrong order": (
        {"seen": {"ready": "s1"}},
        [{"seen": {"got": 1, "by": "s1"}}, {"seen": {"ready": "s1"}}],
    ),
}


def changed(scenario: Scenario, old: Step, new: list[Step]) -> Scenario:
    """Put other steps in place of the first one that is like this."""
    place = scenario.steps.index(old)
    steps = [*scenario.steps[:place], *new, *scenario.steps[place + 1 :]]
    return Scenario(scenario.name, scenario.about, steps, scenario.config)


@NEEDS_NODE
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_trace_that_differs_is_found(wrong: str, tmp_path: Path) -> None:
    scenario = changed(SCENARIOS["first_connection"], *WRONG[wrong])
    assert await play(scenario, "typescript", tmp_path, patience=2) != scenario.trace


@NEEDS_NODE
async def test_what_comes_too_much_at_the_end_is_found(tmp_path: Path) -> None:
    scenario = SCENARIOS["first_connection"]
    last = max(place for place, step in enumerate(scenario.steps) if "seen" in step)
    short = Scenario(scenario.name, scenario.about, scenario.steps[:last])
    trace = await play(short, "typescript", tmp_path)
    assert trace != short.trace
    assert trace[-1] == scenario.steps[last]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_scenario_says_what_it_shows_and_shows_something(scenario: Scenario) -> None:
    assert scenario.about.endswith(".")
    kinds = Counter(next(iter(step)) for step in scenario.steps)
    assert kinds["seen"] >= 2
    assert kinds["app"] >= 1


def test_no_two_scenarios_are_the_same() -> None:
    seen = Counter(json.dumps([one.config, one.steps]) for one in SCENARIOS.values())
    assert max(seen.values()) == 1


def test_ids_and_keys_are_numbered_as_they_appear() -> None:
    normal = Normal(frozenset({"mine"}))
    first = {"type": "publish", "id": 7, "idempotencyKey": "x9"}
    assert normal.frame(first) == {"type": "publish", "id": "#1", "idempotencyKey": "key 1"}
    assert normal.frame(first | {"id": 9, "idempotencyKey": "mine"})["idempotencyKey"] == "mine"
    assert normal.actual({"id": "#2", "of": ["#1"]}) == {"id": 9, "of": [7]}
    normal.connected()  # ids begin anew; keys are for ever
    assert normal.frame(first | {"id": 3}) == {
        "type": "publish",
        "id": "#1",
        "idempotencyKey": "key 1",
    }


def test_who_the_client_is_does_not_count() -> None:
    auth = {"type": "auth", "token": "token", "clientId": "x", "client": {}, "attempt": 0}
    assert Normal().frame(auth) == {"type": "auth"}
    assert Normal().frame(auth | {"token": "t2", "attempt": 3}) == {
        "type": "auth",
        "token": "t2",
        "attempt": 3,
    }
