"""What a process does on its timers, and what it leaves when it cannot start."""

from typing import Any

import pytest
from django.db import OperationalError

from notifications import metrics
from notifications.process import Process
from notifications.services import sweeps
from notifications.services.sweeps import SWEEPS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    "error",
    [OperationalError("canceling statement due to statement timeout"), ValueError("a defect")],
    ids=["database", "defect"],
)
async def test_a_sweep_that_fails_does_not_keep_the_others_from_running(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ran: list[str] = []

    def sweep(name: str) -> Any:
        def run(**_: Any) -> int:
            ran.append(name)
            if name == "unresumed_sessions":
                raise error
            return 1

        return run

    def failures() -> float:
        count: float = metrics.sweep_failures.labels("unresumed_sessions")._value.get()
        return count

    monkeypatch.setattr(sweeps, "SWEEPS", {name: sweep(name) for name in SWEEPS})
    before = failures()
    await Process()._sweep()
    assert ran == [name for name in SWEEPS if name != "deliveries"]
    assert failures() == before + 1
