"""Slow readers harm nobody: not the others, not the server, and not what they get in the end."""

import pytest

from bench.machine.cores import allow_open_files
from tests.deployment import Deployment
from tests.resilience.crowd import Crowd
from tests.resilience.observed import KIB
from tests.resilience.slow_readers import Outcome, slow_readers

pytestmark = pytest.mark.server


def assert_harmless(outcome: Outcome, crowd: Crowd) -> None:
    """Check everything but latencies, which depend on the machine: those are printed."""
    print(f"\n{outcome}")
    assert outcome.incomplete == 0, "a quick reader missed something, or got it twice"
    assert outcome.blocked == outcome.reset == crowd.deaf // 2, "they were to be reset in a write"
    assert outcome.closed_slow >= crowd.deaf - outcome.reset, "and the other deaf to overflow"
    assert outcome.had > 0, "a resume from a place in the middle was to be seen"
    assert outcome.peak - outcome.base.resident <= outcome.bound
    assert (outcome.resumed_whole, outcome.resumed_wrong) == (crowd.slow + crowd.deaf, [])


@pytest.mark.timeout(180)
async def test_a_few_slow_readers(deployment: Deployment) -> None:
    crowd = Crowd(
        quick=30, slow=4, deaf=12, rate=60, size=2 * KIB, each=60, seconds=7, sip=16 * KIB
    )
    outcome = await slow_readers(deployment, crowd)
    assert_harmless(outcome, crowd)


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.timeout(600)
async def test_fifty_slow_readers_and_two_hundred_deaf_among_a_thousand(
    cluster: Deployment,
) -> None:
    allow_open_files(20_000)
    crowd = Crowd(quick=950, slow=50, deaf=200, rate=5, size=16 * KIB, each=60, seconds=60)
    outcome = await slow_readers(cluster, crowd)
    assert_harmless(outcome, crowd)
