"""Both clients, played every scenario: each trace is the one that the scenario says.

That makes the traces of the two clients the same.
"""

from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.driver_process import Client
from tests.clients.scenario import Scenario, play, scenarios

SCENARIOS = scenarios()

pytestmark = pytest.mark.server  # each starts a process


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_trace_is_what_the_scenario_says(
    scenario: Scenario, client: Client, tmp_path: Path
) -> None:
    assert await play(scenario, client, tmp_path) == scenario.trace, scenario.about
