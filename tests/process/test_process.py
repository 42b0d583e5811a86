"""What a process does on its timers, and what it leaves when it cannot start."""

import asyncio
from types import ModuleType
from typing import Any

import pytest
from django.db import OperationalError

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import follower
from notifications.models import Server
from notifications.process import Process, redelivering, running_process, stop_process, this_process
from notifications.process import process as process_module
from notifications.services import sweeps
from notifications.services.sweeps import SWEEPS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (process_module, "read_identity"),
        (redelivering, "last_redelivery_id"),
        (follower, "read_state"),
        (process_module, "register_server"),
    ],
)
async def test_a_start_that_fails_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise OperationalError("the database is away")

    before = asyncio.all_tasks()
    with monkeypatch.context() as away:
        away.setattr(module, name, fail)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await this_process()
    assert running_process() is None
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()
    assert not await in_database(Server.objects.exists)
    await this_process()
    try:
        assert running_process() is not None
        assert asyncio.all_tasks() - before != set()
    finally:
        await stop_process()


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
