"""Acknowledged delivery: what happens until those who have to acknowledge a message do.

tracking.py writes down who has to; `retry` asks the servers to give it once more to those who stay
silent, and says when there is no point any more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from notifications.conf import conf
from notifications.log.audience import Begins, Place, has_acknowledged
from notifications.log.creation import read_identity
from notifications.models import Delivery, Message, Redelivery, Session
from notifications.resilience.backoff import RetryPolicy, backoff_delay
from notifications.services.policies import Policy, policies
from notifications.services.redelivery import NO_ACK, insert_redeliveries

ACK_TIMEOUT = 30
"""Seconds that a client has to acknowledge a message, where its policy says nothing."""

ACK_ATTEMPTS = 5
"""How often a message is given to a client, where its policy says nothing."""

LONGEST_PAUSE = 3_600
"""Seconds between two attempts at most, unless a policy's first pause is longer."""

AWAY_PAUSE = timedelta(hours=1)
"""How long the delivery to a client that is away is not looked at, unless something happens."""

RETRY_BATCH = 500
"""Deliveries that one transaction looks at again."""

WAKE_BATCH = 2_000
"""Deliveries that one transaction makes due because their client is back."""

FORGET_BATCH = 2_000
"""Rows that one statement deletes."""

AWAY = "away"
"""Why a delivery is pending whose client is not connected."""

_CHANGES = ("state", "attempts", "reason", "since", "next_attempt_at")

State = Delivery.State


def retry(*, now: datetime) -> int:
    """Look at the deliveries that are due; return how many were looked at."""
    policies.refresh()
    _wake(now=now)
    looked_at = 0
    while True:
        with transaction.atomic():
            rows = list(
                Delivery.objects.select_for_update(skip_locked=True, of=("self",))
                .select_related("session")
                .filter(state=State.PENDING, next_attempt_at__lte=now)
                .order_by("next_attempt_at", "pk")[:RETRY_BATCH]
            )
            if not rows:
                return looked_at
            wishes = list(_Round(rows, now=now).wishes())
            _write(rows)
            insert_redeliveries(wishes)
        looked_at += len(rows)


def _wake(*, now: datetime) -> None:
    """Have deliveries looked at in time whose client was away, and is back or never will be.

    Whoever is back has the time that its policies give, from when it came.
    """
    # Longer ago than that, and they have been looked at since.
    lately = now - AWAY_PAUSE
    for happened in (
        Q(session__ended_at__gt=lately),
        Q(session__state=Session.State.CONNECTED, session__since__gt=lately),
    ):
        size = WAKE_BATCH
        while size == WAKE_BATCH:
            with transaction.atomic():
                rows = list(
                    Delivery.objects.select_for_update(skip_locked=True, of=("self",))
                    .select_related("session")
                    .filter(happened, state=State.PENDING, reason=AWAY)
                    .order_by()[:WAKE_BATCH]
                )
                for row in rows:
                    timeout = policies.of(row.topic).ack_timeout or ACK_TIMEOUT
                    ended = row.session.ended_at is not None
                    due_at = now if ended else row.session.since + timedelta(seconds=timeout)
                    row.reason, row.next_attempt_at = "", due_at
                _write(rows)
            size = len(rows)


def _write(rows: Sequence[Delivery]) -> None:
    # Most rows of a batch end alike; one statement with a case for each row takes a second.
    alike: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        alike.setdefault(tuple(getattr(row, name) for name in _CHANGES), []).append(row.pk)
    for values, pks in alike.items():
        Delivery.objects.filter(pk__in=pks).update(**dict(zip(_CHANGES, values, strict=True)))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What becomes of a delivery. reason: in the words of the `reason` column."""

    state: State
    reason: str = ""


class _Round:
    """One batch of deliveries that are due, with everything that decides on them."""

    def __init__(self, rows: Sequence[Delivery], *, now: datetime) -> None:
        self._rows = rows
        self._now = now
        self._epoch = read_identity().epoch
        ids = {row.message_id for row in rows}
        self._expiries = dict(Message.objects.filter(pk__in=ids).values_list("pk", "expires_at"))
        self._begins = Begins(
            map(_place_of_delivery, rows),
            epoch=self._epoch,
            principals={row.session.principal for row in rows},
        )

    def wishes(self) -> Iterator[Redelivery]:
        """Change the rows, and yield what servers have to give once more."""
        for row in self._rows:
            policy = policies.of(row.topic)
            verdict = self._verdict(row, policy)
            if verdict is not None:
                row.state, row.reason = verdict.state, verdict.reason
                acknowledged = verdict.state == State.ACKNOWLEDGED
                row.since = (row.session.acked_at if acknowledged else None) or self._now
                row.next_attempt_at = None
                continue
            timeout = policy.ack_timeout or ACK_TIMEOUT
            if row.session.state != Session.State.CONNECTED:
                # The replay of a resume brings it, so nothing is to be done, and nothing counts.
                row.reason = AWAY
                row.next_attempt_at = self._next_look(row)
                continue
            row.reason = NO_ACK
            row.attempts += 1
            row.next_attempt_at = self._now + pause_after(row.attempts, timeout=timeout)
            yield Redelivery(
                topic=row.topic,
                partition=row.partition,
                after=row.offset - 1,
                up_to=row.offset,
                session=row.session,
                created_at=self._now,
            )

    def _next_look(self, row: Delivery) -> datetime:
        """Return when the delivery to a client that is away is looked at, if it stays away."""
        expiry, latest = self._expiries[row.message_id], self._now + AWAY_PAUSE
        if expiry is None or expiry >= latest:
            return latest
        # In whole minutes: rows that change alike are written together.
        return expiry.replace(second=0, microsecond=0) + timedelta(minutes=1)

    def _verdict(self, row: Delivery, policy: Policy) -> _Verdict | None:
        """Return how a delivery ended, or None while it has not."""
        session = row.session
        place = _place_of_delivery(row)
        reason = ""
        if has_acknowledged(session.acked, place, epoch=self._epoch):
            return _Verdict(State.ACKNOWLEDGED)
        if session.ended_at is not None:
            reason = "session_ended"
        elif row.message_id not in self._expiries:
            reason = "purged"
        elif (expiry := self._expiries[row.message_id]) is not None and expiry <= self._now:
            reason = "expired"
        elif not self._begins.want(place, (session.principal, session.client_id)):
            reason = "unsubscribed"
        elif row.attempts >= (policy.ack_attempts or ACK_ATTEMPTS):
            reason = "not_acknowledged"
        return _Verdict(State.UNDELIVERED, reason) if reason else None


def pause_after(attempts: int, *, timeout: int) -> timedelta:
    """Return how long to wait for an acknowledgement after so many attempts; it doubles."""
    spacing = RetryPolicy(
        initial_delay=timeout * 1_000, max_delay=max(LONGEST_PAUSE, timeout) * 1_000, jitter=False
    )
    return timedelta(milliseconds=backoff_delay(attempts - 1, spacing, random=0.0))


def forget_deliveries(*, now: datetime) -> int:
    """Delete the deliveries that ended longer ago than messages are kept; return how many."""
    before = now - timedelta(seconds=conf().retention)
    forgotten = 0
    for state in (State.ACKNOWLEDGED, State.UNDELIVERED):
        old = Delivery.objects.filter(state=state, since__lt=before)
        while pks := list(old.order_by("-since").values_list("pk", flat=True)[:FORGET_BATCH]):
            forgotten += Delivery.objects.filter(pk__in=pks).delete()[0]
    return forgotten


def _place_of_delivery(row: Delivery) -> Place:
    return Place(row.topic, row.partition, row.offset)
