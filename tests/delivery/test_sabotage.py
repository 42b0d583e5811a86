"""The fault runs against servers that break a promise on purpose: each must turn them red.

A run that stays green here would stay green when the promise is broken by mistake.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.delivery.fault_run import Parameters, fault_run
from tests.delivery.report import Anomaly
from tests.delivery.wishes import WISHES
from tests.deployment import Deployment

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.redis]

CARELESS = "literal topics"
"""The subscriber that skips deduplication where that is the sabotage."""


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        ("ack-before-commit", {Anomaly.LOST}),
        pytest.param("no-repair", {Anomaly.SILENT_GAP}, marks=pytest.mark.long),
        pytest.param(
            "no-dedup", {Anomaly.REPEATED, Anomaly.DUPLICATE_HANDLED}, marks=pytest.mark.long
        ),
    ],
)
async def test_sabotage_turns_the_run_red(
    cluster: Deployment, tmp_path: Path, sabotage: str, expected: set[Anomaly]
) -> None:
    wishes = [
        replace(wish, deduplicates=sabotage != "no-dedup" or wish.name != CARELESS)
        for wish in WISHES
    ]
    report = await fault_run(
        cluster,
        tmp_path,
        Parameters(
            seconds=10,
            kills=1,
            quiet_within=8,
            wishes=wishes,
            env={"DJANGO_SETTINGS_MODULE": "tests.settings_sabotage", "SABOTAGE": sabotage},
        ),
    )
    print(f"\n{sabotage}: {report}")
    assert report.verdict == "red"
    assert report.kinds >= expected, str(report)
