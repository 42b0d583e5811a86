"""What clients say they have processed, written in batches.

Bound: `ACKS_BOUND` sessions may have a cursor that waits, one each. Policy: over it the cursor of
another session is dropped; its next `ack` says all that it said. Metric: bellwether_acks_dropped.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db import transaction
from django.utils import timezone

from notifications import metrics
from notifications.models import Session
from notifications.recovery.cursor import CursorTrack
from notifications.services.batches import BatchWriter

ACKS_BOUND = 50_000
"""Sessions whose cursors may wait to be written."""

ACKS_PAUSE = 0.5
"""Seconds in which cursors gather for one transaction."""

ACKS_BATCH = 500
"""Sessions whose cursors one transaction writes."""


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


class Acknowledgements(BatchWriter[Acknowledged]):
    """The cursors of one server process that wait, and the task that writes them."""

    def __init__(self) -> None:
        super().__init__(name="acknowledgements", pause=ACKS_PAUSE)
        self._waiting: dict[uuid.UUID, Acknowledged] = {}

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
        self._wake()

    def _take(self) -> list[Acknowledged]:
        return [self._waiting.pop(handle) for handle in list(islice(self._waiting, ACKS_BATCH))]

    def _put_back(self, batch: list[Acknowledged]) -> None:
        for said in batch:
            if (later := self._waiting.get(said.handle)) is not None:
                said.add(later)
            self._waiting[said.handle] = said

    def _write(self, batch: list[Acknowledged]) -> None:
        record_acks(batch)


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
