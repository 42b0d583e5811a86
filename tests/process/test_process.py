"""What a process does on its timers, and what it leaves when it cannot start."""

import asyncio
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import follower
from notifications.models import Server, Session
from notifications.process import (
    Process,
    redelivering,
    running_process,
    stop_process,
    sweeping,
    this_process,
)
from notifications.process import process as process_module
from notifications.process.process import STRAYS_INTERVAL
from notifications.services import sweeps
from notifications.services.servers import leave_strays, register_server
from notifications.services.sweeps import PURGES, SWEEPS
from tests.process.doubles import Recorder, by_handle
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_session_that_is_open_in_the_database_only_is_left() -> None:
    process, now = Process(), timezone.now()
    long_ago = now - timedelta(seconds=2 * STRAYS_INTERVAL)

    def prepare() -> dict[str, Session]:
        for server_id in (process.server_id, "elsewhere"):
            register_server(server_id, now=now)
        made = {}
        kinds: dict[str, dict[str, Any]] = {
            "stray": {},
            "connecting": {"state": "connecting"},
            "here": {},
            "newer socket": {"connects": 3},
            "being opened": {"since": now},
            "elsewhere": {"server_id": "elsewhere"},
            "away": {"state": "reconnecting"},
        }
        for name, fields in kinds.items():
            known: dict[str, Any] = {"server_id": process.server_id, "since": long_ago}
            made[name] = rows.session("user:1", name, **known | {"connects": 2} | fields)
        return made

    made = await in_database(prepare)
    for name, connects in (("here", 2), ("newer socket", 2)):
        process.connections.add(Recorder(handle=made[name].pk, connects=connects))
    await process._leave_strays()

    def changed() -> dict[str, tuple[str, str]]:
        found = Session.objects.filter(since__gt=now)
        return {row.client_id: (row.state, row.reason) for row in found}

    left = ("reconnecting", "network_error")
    strays = dict.fromkeys(("stray", "connecting", "newer socket"), left)
    assert await in_database(changed) == strays
    handle = made["stray"].pk
    resumed = Session.objects.filter(pk=handle)
    await in_database(resumed.update, connects=3, state="connected")
    assert await in_database(leave_strays, process.server_id, {handle: 2}, now=now) == 0


async def test_a_socket_that_its_session_left_behind_is_closed() -> None:
    """Taken on twice elsewhere: the row names the last of its servers only, and the bus is away."""
    process, now = Process(), timezone.now()

    def prepare() -> dict[str, Session]:
        for server_id in (process.server_id, "b", "c"):
            register_server(server_id, now=now)
        away = {"server_id": "c", "taken_from": "b", "taken_at": now}
        kinds: dict[str, dict[str, Any]] = {
            "taken on twice": {**away, "connects": 4},
            "operator": {**away, "connects": 4, "ended": True, "reason": "server_initiated"},
            "ended here": {"ended": True, "reason": "server_initiated"},
            "replaced": {"ended": True, "reason": "taken_over"},
            "not written yet": {"state": "reconnecting"},
            "in order": {},
        }
        known: dict[str, Any] = {"server_id": process.server_id, "connects": 2, "since": now}
        return {name: rows.session("user:1", name, **known | more) for name, more in kinds.items()}

    made = await in_database(prepare)
    sockets = {name: Recorder(handle=row.pk, connects=2) for name, row in made.items()}
    process.by_handle.update(by_handle(*sockets.values()))
    await process._leave_strays()
    closed = {name: socket.closed for name, socket in sockets.items() if socket.closed}
    assert closed == {
        "taken on twice": [4504],
        "operator": [4504],
        "ended here": [4503],
        "replaced": [4504],
    }


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

    def tasks() -> set[asyncio.Task[Any]]:
        # The layer's connection to Redis is one for the loop; the next attempt goes on with it.
        found = asyncio.all_tasks()
        return {task for task in found if "Redis" not in repr(task.get_coro())}

    before = tasks()
    with monkeypatch.context() as away:
        away.setattr(module, name, fail)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await this_process()
    assert running_process() is None
    await asyncio.sleep(0)
    assert tasks() - before == set()
    assert not await in_database(Server.objects.exists)
    await this_process()
    try:
        assert running_process() is not None
        assert tasks() - before != set()
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
    await sweeping.sweep()
    await sweeping.purge()
    assert ran == [name for name in SWEEPS if name not in sweeping.OF_THEIR_OWN] + list(PURGES)
    assert failures() == before + 1


@pytest.mark.parametrize("failing", [None, "expired_messages"])
async def test_a_purge_that_left_something_goes_on_at_once(
    monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    ran: list[str] = []
    behind = {"retention": 3, "expired_messages": 1}

    def run(name: str, **_: Any) -> bool:
        ran.append(name)
        if name == failing:
            raise OperationalError("canceling statement due to statement timeout")
        behind[name] -= 1
        return behind[name] >= 0

    monkeypatch.setattr(sweeping, "run_alone", run)
    monkeypatch.setattr(sweeping, "BREATH", 0)
    await sweeping.purge()
    second = [] if failing else ["expired_messages"]
    rest = ["retention"] * 3
    assert ran == ["expired_messages", "retention", *second, *rest]
