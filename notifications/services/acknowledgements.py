"""What clients say they have processed, written in batches.

Bound: `ACKS_BOUND` sessions may have a cursor that waits, one each. Policy: over it the cursor of
another session is dropped; its next `ack` says all that it said. Metric: bellwether_acks_dropped.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import structlog
from django.db import transaction
from django.utils import timezone

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.models import Session
from notifications.recovery.cursor import CursorTrack

ACKS_BOUND = 50_000
"""Sessions whose cursors may wait to be written."""

ACKS_PAUSE = 0.5
"""Seconds in which cursors gather for one transaction."""

ACKS_BATCH = 500
"""Sessions whose cursors one transaction writes."""

RETRY_PAUSE = 1.0
"""Seconds until cursors that could not be written are tried again."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Acknowledged:
    """How far a session's client has come: offsets by partition, of a life of the log."""

    handle: uuid.UUID
    epoch: str
    offsets: dict[int, int]
    at: datetime

    def add(self, later: "Acknowledged") -> None:
        """Take in what the client said later; another epoch's offsets replace all."""
        track = CursorTrack()
        track.reset(self.epoch, _named(self.offsets))
        track.merge(later.epoch, _named(later.offsets))
        self.epoch, self.offsets, self.at = later.epoch, track.offsets, later.at


class Acknowledgements:
    """The cursors of one server process that wait, and the task that writes them."""

    def __init__(self) -> None:
        self._waiting: dict[uuid.UUID, Acknowledged] = {}
        self._news = asyncio.Event()
        self._finishing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever(), name="acknowledgements")

    def note(
        self,
        handle: uuid.UUID,
        epoch: str,
        offsets: Mapping[int, int],
        *,
        at: datetime | None = None,
    ) -> None:
        """Have the cursor of an `ack` written soon; it was validated before.

        at: when it came; now by default.
        """
        said = Acknowledged(
            handle=handle, epoch=epoch, offsets=dict(offsets), at=at or timezone.now()
        )
        if (before := self._waiting.get(handle)) is not None:
            before.add(said)
            return
        if len(self._waiting) >= ACKS_BOUND:
            metrics.acks_dropped.inc()
            return
        self._waiting[handle] = said
        self._news.set()

    async def finish(self, *, within: float) -> None:
        """Write what waits, for so many seconds at most."""
        self._finishing = True
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)

    async def _write_for_ever(self) -> None:
        while not (self._finishing and not self._waiting):
            await self._news.wait()
            if not self._finishing:
                await asyncio.sleep(ACKS_PAUSE)
            try:
                await self._write()
            except Exception as error:
                if not isinstance(error, Unavailable):
                    logger.exception("acknowledgements could not be written")
                await asyncio.sleep(RETRY_PAUSE)
                self._news.set()

    async def _write(self) -> None:
        self._news.clear()
        while self._waiting:
            batch = [
                self._waiting.pop(handle) for handle in list(islice(self._waiting, ACKS_BATCH))
            ]
            try:
                await in_database(record_acks, batch)
            except Exception:
                for said in batch:
                    self._put_back(said)
                raise

    def _put_back(self, said: Acknowledged) -> None:
        if (later := self._waiting.get(said.handle)) is not None:
            said.add(later)
        self._waiting[said.handle] = said


def record_acks(acks: Sequence[Acknowledged]) -> None:
    """Write what clients acknowledged into their sessions, in one transaction.

    A cursor never goes back: of each partition the larger offset stays, unless the epoch is
    another. An ended session takes its last word too: what was acknowledged was delivered.
    """
    said = {ack.handle: ack for ack in acks}
    with transaction.atomic():
        # In one order, so that two servers do not wait for each other; and a lock that lets
        # deliveries refer to the session meanwhile.
        rows = list(
            Session.objects.select_for_update(no_key=True)
            .filter(pk__in=said)
            .order_by("pk")
            .only("acked", "acked_at")
        )
        moved = []
        for row in rows:
            ack = said[row.pk]
            track = CursorTrack()
            if row.acked:
                track.reset(row.acked["epoch"], row.acked["offsets"])
            before = track.snapshot()
            track.merge(ack.epoch, _named(ack.offsets))
            if track.snapshot() != before:
                row.acked = {"epoch": ack.epoch, "offsets": _named(track.offsets)}
                row.acked_at = ack.at
                moved.append(row)
        Session.objects.bulk_update(moved, ["acked", "acked_at"])


def _named(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(offsets.items())}
