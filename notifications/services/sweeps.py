"""Sweeps: what time makes necessary. Each is safe to run twice, late, or on many hosts at once.

Celery beat runs them, or a server does on a timer (the embedded default); `manage.py sweep` runs
all of them once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog
from django.db import transaction

from accounts.refresh import purge_families
from notifications import metrics
from notifications.errors import NotificationError
from notifications.log.records import Publication
from notifications.models import IdempotencyKey, PendingPublication
from notifications.services.alone import alone
from notifications.services.deliveries import forget_deliveries, retry
from notifications.services.publishing import publication_of_row
from notifications.services.redelivery import forget_redeliveries
from notifications.services.retention import (
    expired_are_left,
    is_behind,
    sweep_expired_messages,
    sweep_retention,
)
from notifications.services.servers import clear_dead_servers
from notifications.services.sessions import end_unresumed_sessions, forget_ended_sessions
from notifications.services.tracking import track
from notifications.services.writer import writer

OUTBOX_BATCH = 500
"""Rows that one step of the outbox sweep carries on."""

OUTBOX_GRACE = timedelta(seconds=2)
"""Age at which a pending publication is taken from the process that wrote it."""

OUTBOX_BACKOFF = (2, 300)
"""Seconds until a row that failed is tried again: the first doubles up to the second."""

FORGET_BATCH = 2_000
"""Rows that one statement of a sweep deletes."""

logger = structlog.get_logger(__name__)


def sweep_outbox(*, now: datetime) -> int:
    """Append the pending publications whose process did not; return how many were appended."""
    carried = 0
    while True:
        with transaction.atomic():
            rows = list(
                PendingPublication.objects.select_for_update(skip_locked=True)
                .filter(next_attempt_at__lte=now, created_at__lte=now - OUTBOX_GRACE)
                .order_by("id")[:OUTBOX_BATCH]
            )
            for row in rows:
                row.attempts += 1
                first, most = OUTBOX_BACKOFF
                pause = min(first * 2 ** min(row.attempts - 1, 16), most)
                row.next_attempt_at = now + timedelta(seconds=pause)
            PendingPublication.objects.bulk_update(rows, ["attempts", "next_attempt_at"])
        if not rows:
            return carried
        publications = [publication_of_row(row) for row in rows]
        carried += _carry(publications)


def _carry(publications: list[Publication]) -> int:
    try:
        writer().append(publications)
    except NotificationError as error:
        ids = [p.outbox_id for p in publications if p.outbox_id is not None]
        PendingPublication.objects.filter(pk__in=ids).update(last_error=error.message)
        logger.warning("pending publications stay pending", count=len(ids), error=error.message)
        return 0
    return len(publications)


def sweep_idempotency_keys(*, now: datetime) -> int:
    """Forget the idempotency keys that are older than their window."""
    old = IdempotencyKey.objects.filter(expires_at__lt=now)
    forgotten = 0
    # In steps: one statement for a day's keys would run into its timeout, and never get anywhere.
    while pks := list(old.values_list("pk", flat=True)[:FORGET_BATCH]):
        forgotten += IdempotencyKey.objects.filter(pk__in=pks).delete()[0]
    return forgotten


def sweep_dead_servers(*, now: datetime) -> int:
    """Mark the sessions of servers that died."""
    return clear_dead_servers(now=now)


def sweep_unresumed_sessions(*, now: datetime) -> int:
    """End the sessions whose clients did not come back in time, and forget those long ended."""
    return end_unresumed_sessions(now=now) + forget_ended_sessions(now=now)


def sweep_token_families(*, now: datetime) -> int:
    """Forget the token families whose refresh tokens have all expired."""
    return purge_families(now=now)


def sweep_deliveries(*, now: datetime) -> int:
    """Set up the deliveries of messages that have to be acknowledged, and retry those due."""
    return track(now=now) + retry(now=now)


def sweep_redeliveries(*, now: datetime) -> int:
    """Forget the wishes for redelivery that servers have seen, and deliveries long over."""
    return forget_redeliveries(now=now) + forget_deliveries(now=now)


Sweep = Callable[..., int]

SWEEPS: Mapping[str, Sweep] = MappingProxyType(
    {
        "outbox": sweep_outbox,
        "dead_servers": sweep_dead_servers,
        "unresumed_sessions": sweep_unresumed_sessions,
        "idempotency_keys": sweep_idempotency_keys,
        "expired_messages": sweep_expired_messages,
        "retention": sweep_retention,
        "token_families": sweep_token_families,
        "deliveries": sweep_deliveries,
        "redeliveries": sweep_redeliveries,
    }
)
"""Every sweep by its name, in the order in which they run."""

PURGES: Mapping[str, Callable[..., bool]] = MappingProxyType(
    {"expired_messages": expired_are_left, "retention": is_behind}
)
"""The sweeps that work for a time only, each with what tells whether that left something."""

BREATH = 1.0
"""Seconds until a sweep goes on that left something: it is for others to get at the database."""


def run_sweep(name: str, *, now: datetime) -> int:
    """Run one sweep and count it; return how many rows it changed. Raises what it met."""
    try:
        changed = SWEEPS[name](now=now)
    except Exception:
        metrics.sweep_failures.labels(name).inc()
        raise
    metrics.sweep_runs.labels(name).inc()
    metrics.sweep_changes.labels(name).inc(changed)
    return changed


def run_alone(name: str, *, now: datetime) -> bool:
    """Run one sweep, unless another process is at it; tell whether it left something to go on with.

    Raises what the sweep met.
    """
    with alone(name) as is_ours:
        if not is_ours:
            logger.info("a sweep is running elsewhere", sweep=name)
            return False
        changed = run_sweep(name, now=now)
        if changed:
            logger.info("swept", sweep=name, changed=changed)
        return name in PURGES and PURGES[name](now=now)
