"""The batched writer of acks, and how cursors are merged into sessions."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from notifications import metrics
from notifications.errors import Unavailable
from notifications.services import acknowledgements, batches
from notifications.services.acknowledgements import Acknowledged, Acknowledgements, record_acks
from tests.selectors import rows

ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


async def directly(work: Callable[..., None], *arguments: Any) -> None:
    """Run what would go to a database thread."""
    await asyncio.sleep(0)
    work(*arguments)


class Rows:
    """Stands in for the database; keeps what it was given, by session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[dict[int, tuple[str, dict[int, int]]]] = []
        self.away = 0
        self.while_away: Callable[[], None] = lambda: None
        monkeypatch.setattr(acknowledgements, "record_acks", self.record)
        monkeypatch.setattr(batches, "in_database", directly)
        monkeypatch.setattr(acknowledgements, "ACKS_PAUSE", 0.0)
        monkeypatch.setattr(batches, "RETRY_PAUSE", 0.001)

    def record(self, acks: Sequence[Acknowledged]) -> None:
        if self.away:
            self.away -= 1
            self.while_away()
            raise Unavailable("away")
        self.batches.append({ack.handle.int: (ack.epoch, ack.offsets) for ack in acks})


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Rows:
    return Rows(monkeypatch)


async def finish(acks: Acknowledgements) -> None:
    acks.start()
    await acks.finish(within=10)


async def test_a_session_waits_with_one_cursor(written: Rows) -> None:
    acks = Acknowledgements()
    acks.note(ONE, "e", {0: 5})
    acks.note(TWO, "e", {0: 1})
    acks.note(ONE, "e", {0: 3, 1: 2})
    await finish(acks)
    assert written.batches == [{1: ("e", {0: 5, 1: 2}), 2: ("e", {0: 1})}]


async def test_another_epoch_replaces_what_waits(written: Rows) -> None:
    acks = Acknowledgements()
    acks.note(ONE, "e", {0: 5})
    acks.note(ONE, "f", {1: 1})
    await finish(acks)
    assert written.batches == [{1: ("f", {1: 1})}]


async def test_what_was_noted_stays_the_callers(written: Rows) -> None:
    acks, offsets = Acknowledgements(), {0: 5}
    acks.note(ONE, "e", offsets)
    offsets[0] = 9
    await finish(acks)
    assert written.batches == [{1: ("e", {0: 5})}]


async def test_a_transaction_is_bounded(written: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "ACKS_BATCH", 2)
    acks = Acknowledgements()
    for number in range(5):
        acks.note(uuid.UUID(int=number), "e", {0: 1})
    await finish(acks)
    assert [sorted(batch) for batch in written.batches] == [[0, 1], [2, 3], [4]]


async def test_an_outage_loses_nothing_and_turns_nothing_back(written: Rows) -> None:
    acks = Acknowledgements()
    written.away = 2
    written.while_away = lambda: acks.note(ONE, "e", {0: 7})
    acks.note(ONE, "e", {0: 5, 1: 1})
    await finish(acks)
    assert written.batches == [{1: ("e", {0: 7, 1: 1})}]


async def test_over_the_bound_another_session_is_dropped(
    written: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acknowledgements, "ACKS_BOUND", 1)
    dropped = metrics.acks_dropped._value.get()
    acks = Acknowledgements()
    acks.note(ONE, "e", {0: 1})
    acks.note(TWO, "e", {0: 1})
    acks.note(ONE, "e", {0: 2})
    await finish(acks)
    assert written.batches == [{1: ("e", {0: 2})}]
    assert metrics.acks_dropped._value.get() == dropped + 1


async def test_writing_goes_on_until_it_is_finished(written: Rows) -> None:
    acks = Acknowledgements()
    acks.start()
    for number in (1, 2):
        acks.note(ONE, "e", {0: number})
        async with asyncio.timeout(10):
            while len(written.batches) < number:
                await asyncio.sleep(0)
    await acks.finish(within=10)
    assert [batch[1] for batch in written.batches] == [("e", {0: 1}), ("e", {0: 2})]


# --- record_acks --------------------------------------------------------------------------------


def said(handle: uuid.UUID, epoch: str, offsets: dict[int, int], after: int = 0) -> Acknowledged:
    at = rows.NOW + timedelta(seconds=after)
    return Acknowledged(handle=handle, epoch=epoch, offsets=offsets, at=at)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("acks", "kept", "moved_after"),
    [
        ([("e", {0: 5})], {"epoch": "e", "offsets": {"0": 5}}, 0),
        ([("e", {0: 5}), ("e", {0: 7, 2: 1})], {"epoch": "e", "offsets": {"0": 7, "2": 1}}, 1),
        ([("e", {0: 5}), ("e", {0: 3})], {"epoch": "e", "offsets": {"0": 5}}, 0),
        ([("e", {0: 5}), ("e", {1: 3})], {"epoch": "e", "offsets": {"0": 5, "1": 3}}, 1),
        ([("e", {0: 5}), ("f", {1: 3})], {"epoch": "f", "offsets": {"1": 3}}, 1),
    ],
)
def test_cursors_are_merged(
    acks: list[tuple[str, dict[int, int]]], kept: dict[str, Any], moved_after: int
) -> None:
    session = rows.session("user:1")
    for number, (epoch, offsets) in enumerate(acks):
        record_acks([said(session.pk, epoch, offsets, number)])
    session.refresh_from_db()
    assert session.acked == kept
    assert session.acked_at == rows.NOW + timedelta(seconds=moved_after)


@pytest.mark.django_db
def test_each_session_has_its_own_cursor_even_when_it_has_ended() -> None:
    one, two = rows.session("user:1"), rows.session("user:1", ended=True)
    silent = rows.session("user:2")
    record_acks(
        [
            said(two.pk, "e", {1: 2}),
            said(one.pk, "e", {0: 1}),
            said(uuid.uuid4(), "e", {0: 1}),  # of a session that was forgotten
        ]
    )
    for session in (one, two, silent):
        session.refresh_from_db()
    assert one.acked == {"epoch": "e", "offsets": {"0": 1}}
    assert two.acked == {"epoch": "e", "offsets": {"1": 2}}
    assert (silent.acked, silent.acked_at) == ({}, None)
