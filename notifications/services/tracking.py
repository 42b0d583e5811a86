"""Acknowledged delivery: who has to acknowledge a message.

It is written down once for each message whose policy asks for it, after it was published. Each
partition has a mark up to which that was done.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F

from notifications.log.audience import Begins, Place, open_sessions
from notifications.log.creation import read_identity
from notifications.log.patterns import topics_matching
from notifications.models import Delivery, Message, Partition
from notifications.services.deliveries import ACK_TIMEOUT
from notifications.services.policies import policies

TRACK_BATCH = 500
"""Messages whose deliveries one transaction sets up, at most."""

TRACK_SPAN = 100_000
"""Offsets that one statement looks through for such messages; it moves the mark past all others."""

TRACK_ROWS = 10_000
"""Deliveries that one transaction sets up, or those of one message, if they are more."""


class _Asked(NamedTuple):
    """A message that has to be acknowledged."""

    id: UUID
    topic: str
    partition: int
    offset: int
    publisher: str
    published_at: datetime

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition, self.offset)


def track(*, now: datetime) -> int:
    """Set up the deliveries of the messages that came since the last time; return how many."""
    policies.refresh()
    patterns = [policy.pattern for policy in policies if policy.acknowledged and policy.pattern]
    made = 0
    for partition in Partition.objects.filter(tracked__lt=F("head")):
        while partition.tracked < partition.head:
            # Where nothing has to be acknowledged, one step goes to the head.
            end = min(partition.head, partition.tracked + TRACK_SPAN) if patterns else None
            batch = _messages_to_track(partition, end, patterns) if end is not None else []
            reached, rows = _deliveries_of(batch, now=now)
            # Short of the bound, everything up to the end has been seen.
            if len(batch) < TRACK_BATCH and (not batch or reached == batch[-1].offset):
                reached = end or partition.head
            if not _set_up(partition, reached, rows):
                break  # somebody else is at it, and has set up the same
            partition.tracked = reached
            made += len(rows)
    return made


def _messages_to_track(partition: Partition, end: int, patterns: Collection[str]) -> list[_Asked]:
    """Return the next messages, up to an offset, whose topics one of some patterns matches."""
    rows = Message.objects.filter(
        topics_matching(patterns, field="topic__name"),
        partition=partition,
        offset__gt=partition.tracked,
        offset__lte=end,
    ).order_by("offset")
    columns = ("pk", "topic__name", "partition_id", "offset", "publisher", "published_at")
    return [_Asked(*row) for row in rows.values_list(*columns)[:TRACK_BATCH]]


def _deliveries_of(messages: Sequence[_Asked], *, now: datetime) -> tuple[int, list[Delivery]]:
    """Return the rows for the first of some messages, and the offset up to which they reach."""
    reached = messages[-1].offset if messages else 0
    # A pattern that asks for it may match, and yet a more specific one apply.
    asked = [message for message in messages if policies.of(message.topic).acknowledged]
    rows: list[Delivery] = []
    if not asked:
        return reached, rows
    begins = Begins((message.place for message in asked), epoch=read_identity().epoch)
    sessions = open_sessions(begins.clients())
    for message in asked:
        if len(rows) >= TRACK_ROWS:
            return message.offset - 1, rows
        timeout = policies.of(message.topic).ack_timeout or ACK_TIMEOUT
        for client in begins.wanted_by(message.place):
            if (handle := sessions.get(client)) is not None:
                rows.append(
                    Delivery(
                        message_id=message.id,
                        topic=message.topic,
                        partition=message.partition,
                        offset=message.offset,
                        publisher=message.publisher,
                        session_id=handle,
                        since=now,
                        next_attempt_at=message.published_at + timedelta(seconds=timeout),
                    )
                )
    return reached, rows


def _set_up(partition: Partition, reached: int, rows: list[Delivery]) -> bool:
    """Insert deliveries and move the partition's mark; False when another process moved it.

    The mark moves last: publishers wait for the partition's row while it is locked.
    """
    with transaction.atomic():
        Delivery.objects.bulk_create(rows, batch_size=1_000, ignore_conflicts=True)
        moved = Partition.objects.filter(pk=partition.pk, tracked=partition.tracked).update(
            tracked=reached
        )
        if not moved:
            transaction.set_rollback(True)
    return bool(moved)
