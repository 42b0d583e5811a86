"""Deliveries: who got a message, and who has not acknowledged it yet."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from notifications.log.audience import Place, has_acknowledged, subscribes
from notifications.log.creation import read_identity
from notifications.models import Delivery, Message, Session

PAGE = 100
"""Deliveries on a page."""

State = Delivery.State


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A message on its way to a session.

    user: the user's name, or for an API key its principal. state: one of Delivery.State.
    """

    session: uuid.UUID
    user: str
    client_id: str
    state: str
    attempts: int
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A message of which deliveries can be told.

    publisher: the principal. published_at: None once the message has been purged.
    """

    message_id: uuid.UUID
    place: Place
    publisher: str
    published_at: datetime | None


def find_tracked(message_id: uuid.UUID) -> Tracked | None:
    """Return a message of the log, or what its deliveries remember of a purged one; or None."""
    message = (
        Message.objects.filter(pk=message_id)
        .values_list("topic__name", "partition_id", "offset", "publisher", "published_at")
        .first()
    )
    if message is not None:
        return _tracked(message_id, *message[:4], published_at=message[4])
    remembered = (
        Delivery.objects.filter(message_id=message_id)
        .order_by()
        .values_list("topic", "partition", "offset", "publisher")
        .first()
    )
    return _tracked(message_id, *remembered, published_at=None) if remembered else None


def _tracked(
    message_id: uuid.UUID,
    topic: str,
    partition: int,
    offset: int,
    publisher: str,
    *,
    published_at: datetime | None,
) -> Tracked:
    return Tracked(
        message_id=message_id,
        place=Place(topic, partition, offset),
        publisher=publisher,
        published_at=published_at,
    )


def list_deliveries(
    tracked: Tracked, *, after: uuid.UUID | None = None, limit: int = PAGE
) -> tuple[list[DeliveryRow], uuid.UUID | None]:
    """Return a page of a message's deliveries by session, and the next page's `after`.

    What was written down, with the cursors as they are now; where nothing was, because no policy
    asks for it or it has not been set up yet, what the sessions that are open say. Four queries
    at most.
    """
    epoch = read_identity().epoch
    found = _written_down(tracked, after, limit, epoch)
    if not found and not Delivery.objects.filter(message_id=tracked.message_id).exists():
        found = _computed(tracked, after, limit, epoch)
    page = found[:limit]
    return page, page[-1].session if len(found) > limit else None


def _written_down(
    tracked: Tracked, after: uuid.UUID | None, limit: int, epoch: str
) -> list[DeliveryRow]:
    rows = Delivery.objects.filter(message_id=tracked.message_id).select_related("session__user")
    if after is not None:
        rows = rows.filter(session__gt=after)
    found = []
    for row in rows.order_by("session")[: limit + 1]:
        session = row.session
        state, reason, since = row.state, row.reason, row.since
        if state == State.PENDING and has_acknowledged(session.acked, tracked.place, epoch=epoch):
            state, reason, since = State.ACKNOWLEDGED, "", session.acked_at or since
        found.append(_row(session, state, row.attempts, reason, since))
    return found


def _computed(
    tracked: Tracked, after: uuid.UUID | None, limit: int, epoch: str
) -> list[DeliveryRow]:
    if tracked.published_at is None:
        return []
    sessions = Session.objects.select_related("user").filter(
        subscribes(tracked.place, epoch=epoch), ended_at__isnull=True
    )
    if after is not None:
        sessions = sessions.filter(pk__gt=after)
    found = []
    for session in sessions.order_by("pk")[: limit + 1]:
        state, since = State.PENDING, tracked.published_at
        if has_acknowledged(session.acked, tracked.place, epoch=epoch):
            state, since = State.ACKNOWLEDGED, session.acked_at or since
        found.append(_row(session, state, 1, "", since))
    return found


def _row(session: Session, state: str, attempts: int, reason: str, since: datetime) -> DeliveryRow:
    return DeliveryRow(
        session=session.pk,
        user=session.user.username if session.user else session.principal,
        client_id=session.client_id,
        state=str(state),
        attempts=attempts,
        reason=reason,
        since=since,
    )
