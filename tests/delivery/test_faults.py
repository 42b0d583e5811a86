"""Servers die by kill -9 while everybody publishes, subscribes, leaves and comes back."""

from pathlib import Path

import pytest

from tests.delivery.fault_run import Parameters, fault_run
from tests.delivery.report import Report
from tests.deployment import Deployment

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.redis]


def assert_kept(report: Report, *, kills: int) -> None:
    """Check that every promise was kept, and that the run was one that could break them."""
    print(f"\n{report}")
    assert report.verdict == "green", str(report)
    assert report.counts["faults"] == kills
    assert report.counts["received as replayed"] > 0, "nobody missed anything that was replayed"
    # Nothing was purged, no epoch changed and no cap was reached, so no recovery may fail.
    assert report.counts["recovered"] >= kills
    assert not [name for name in report.counts if name.startswith("recovered: false")], str(report)
    assert not report.counts["gaps"]


@pytest.mark.timeout(180)
async def test_nothing_is_lost_repeated_or_reordered_when_servers_die(
    cluster: Deployment, tmp_path: Path
) -> None:
    report = await fault_run(cluster, tmp_path, Parameters(seconds=24, kills=2))
    assert_kept(report, kills=2)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_nothing_is_lost_repeated_or_reordered_when_servers_die_again_and_again(
    cluster: Deployment, tmp_path: Path
) -> None:
    report = await fault_run(cluster, tmp_path, Parameters(seconds=200, kills=12, rate=80))
    assert_kept(report, kills=12)
