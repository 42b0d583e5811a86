"""Both clients, played every scenario: each trace is the one that the scenario says.

That makes the traces of the two clients the same.
"""

from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.driver_process import Client
from tests.clients.scenario import Scenario, Step, play, scenarios

SCENARIOS = scenarios()

pytestmark = pytest.mark.server  # each starts a process


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_trace_is_what_the_scenario_says(
    scenario: Scenario, client: Client, tmp_path: Path
) -> None:
    assert await play(scenario, client, tmp_path) == scenario.trace, scenario.about


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_upgrade_that_is_refused_for_good_ends_the_client(
    client: Client, tmp_path: Path
) -> None:
    # No close frame came, so there is no code of one.
    ended: Step = {
        "seen": [
            {"state": "disconnected", "reason": "protocol_error"},
            {"event": "connection_ended", "reason": "protocol_error"},
            {"call": "connect", "failed": "protocol_error"},
        ]
    }
    steps: list[Step] = [
        {"app": {"do": "connect"}},
        {"seen": {"state": "connecting", "attempt": 0}},
        {"refuse": 403},
        ended,
    ]
    scenario = Scenario("refused for good", "403, which a browser would not show.", steps)
    assert await play(scenario, client, tmp_path) == scenario.trace
