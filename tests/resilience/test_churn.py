"""Connections that come and go leave nothing behind in the server."""

import pytest

from tests.deployment import Deployment
from tests.resilience.churn import Churn, churn
from tests.resilience.observed import MIB

pytestmark = pytest.mark.server

SETTLED = 10_000
"""Cycles after which the memory of a server has its size."""

FLAT = 4 * MIB
"""What it may grow by in four times as many."""


@pytest.mark.timeout(180)
async def test_a_few_hundred_visits_leave_nothing_behind(deployment: Deployment) -> None:
    outcome = await churn(deployment, Churn(cycles=400, clients=40, every=200), print)
    print(f"\n{outcome}")
    assert (outcome.after.connections, outcome.after.subscriptions) == (0, 0)


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.timeout(3600)
async def test_memory_is_flat_over_fifty_thousand_connections(cluster: Deployment) -> None:
    outcome = await churn(cluster, Churn(cycles=50_000, clients=500), print)
    print(f"\n{outcome}")
    assert outcome.memory[50_000] - outcome.memory[SETTLED] <= FLAT
