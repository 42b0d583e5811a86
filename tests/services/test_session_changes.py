"""The batched writer of session changes: order, outages, its bound, its end."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.utils import timezone

from notifications.errors import Unavailable
from notifications.services import batches, session_changes
from notifications.services.session_changes import SessionChanges
from notifications.services.sessions import SessionChange


def change(number: int) -> SessionChange:
    return SessionChange(
        handle=uuid.UUID(int=number),
        server_id="s",
        connects=1,
        state="connected",
        reason="",
        since=timezone.now(),
    )


async def directly(work: Callable[..., None], *arguments: Any) -> None:
    """Run what would go to a database thread."""
    await asyncio.sleep(0)
    work(*arguments)


class Rows:
    """Stands in for the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[int]] = []
        self.away = 0
        monkeypatch.setattr(session_changes, "record_changes", self.record)
        monkeypatch.setattr(batches, "in_database", directly)
        monkeypatch.setattr(session_changes, "CHANGES_PAUSE", 0.0)
        monkeypatch.setattr(batches, "RETRY_PAUSE", 0.001)

    def record(self, changes: Sequence[SessionChange]) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        self.batches.append([one.handle.int for one in changes])


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    return Rows(monkeypatch)


async def test_what_gathers_is_written_together_and_in_order(rows: Rows) -> None:
    changes = SessionChanges()
    for number in range(3):
        changes.note(change(number))
    changes.start()
    await changes.finish(within=10)
    assert rows.batches == [[0, 1, 2]]


async def test_a_transaction_is_bounded(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_changes, "CHANGES_BATCH", 2)
    changes = SessionChanges()
    for number in range(5):
        changes.note(change(number))
    changes.start()
    await changes.finish(within=10)
    assert rows.batches == [[0, 1], [2, 3], [4]]


async def test_an_outage_loses_nothing(rows: Rows) -> None:
    rows.away = 3
    changes = SessionChanges()
    changes.start()
    changes.note(change(1))
    changes.note(change(2))
    await changes.finish(within=10)
    assert rows.batches == [[1, 2]]


async def test_over_the_bound_the_newest_is_dropped_and_said(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_changes, "CHANGES_BOUND", 2)
    changes = SessionChanges()
    for number in range(3):
        changes.note(change(number))
    assert changes.lost
    changes.start()
    await changes.finish(within=10)
    assert rows.batches == [[0, 1]]


async def test_the_end_waits_for_so_long_and_no_longer(rows: Rows) -> None:
    rows.away = 10**9
    changes = SessionChanges()
    changes.start()
    changes.note(change(1))
    await changes.finish(within=0.05)
    assert rows.batches == []
    rows.away = 0
    await changes.finish(within=10)
    assert rows.batches == [[1]]
