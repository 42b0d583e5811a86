"""Celery's door: one task for each sweep, run by beat.

The schedule is CELERY_BEAT_SCHEDULE in the settings; where beat runs, switch the servers' own
timers off with NOTIFICATIONS_EMBEDDED_SWEEPS=off. Every sweep may run twice without harm; the lock
only spares the work when the last run takes longer than the interval.

Tasks take keywords only and end in `**kwargs`, so that workers of the last version and beat of
the next one, or the reverse, understand each other while a deploy is under way.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import shared_task
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.utils import timezone

from notifications.services.sweeps import run_sweep

SOFT_TIME_LIMIT = 240
"""Seconds until a sweep is interrupted; what it had committed stays, the next run goes on."""

TIME_LIMIT = 270
"""Seconds until the worker's process is killed, when the interruption did not help."""

_LOCK_SPACE = zlib.crc32(b"bellwether.sweeps") & 0x7FFF_FFFF
"""Keeps our advisory locks apart from those of others in the same database."""

logger = structlog.get_logger(__name__)

# Celery comes without types.
_sweep_task: Callable[[Callable[..., None]], Any] = shared_task(
    ignore_result=True, soft_time_limit=SOFT_TIME_LIMIT, time_limit=TIME_LIMIT
)


@_sweep_task
def sweep_outbox(**_: Any) -> None:
    """Append the pending publications whose process did not."""
    _run_alone("outbox")


@_sweep_task
def sweep_dead_servers(**_: Any) -> None:
    """Mark the sessions of servers that died."""
    _run_alone("dead_servers")


@_sweep_task
def sweep_unresumed_sessions(**_: Any) -> None:
    """End the sessions whose clients did not come back in time."""
    _run_alone("unresumed_sessions")


@_sweep_task
def sweep_idempotency_keys(**_: Any) -> None:
    """Forget the idempotency keys that are older than their window."""
    _run_alone("idempotency_keys")


@_sweep_task
def sweep_expired_messages(**_: Any) -> None:
    """Delete the messages that have expired."""
    _run_alone("expired_messages")


@_sweep_task
def sweep_retention(**_: Any) -> None:
    """Purge the messages that the policies of their topics keep no longer."""
    _run_alone("retention")


@_sweep_task
def sweep_token_families(**_: Any) -> None:
    """Forget the token families whose refresh tokens have all expired."""
    _run_alone("token_families")


@_sweep_task
def sweep_deliveries(**_: Any) -> None:
    """Set up the deliveries of messages that have to be acknowledged, and retry those due."""
    _run_alone("deliveries")


@_sweep_task
def sweep_redeliveries(**_: Any) -> None:
    """Forget the wishes for redelivery that servers have seen, and deliveries long over."""
    _run_alone("redeliveries")


def _run_alone(name: str) -> None:
    with _lock(name) as is_ours:
        if not is_ours:
            logger.info("a sweep is running elsewhere", sweep=name)
            return
        changed = run_sweep(name, now=timezone.now())
        if changed:
            logger.info("swept", sweep=name, changed=changed)


@contextmanager
def _lock(name: str) -> Iterator[bool]:
    """Take a sweep's lock without waiting; yield whether it is ours.

    It is an advisory lock of a PostgreSQL connection, so it goes with the process that dies.
    Sweeps commit as they go, which a lock of a transaction would not outlive, and give their
    connection back to the pool meanwhile, so the lock has a connection of its own. SQLite serves
    one host and needs none.
    """
    if connection.vendor != "postgresql":
        yield True
        return
    key = (_LOCK_SPACE, zlib.crc32(name.encode()) & 0x7FFF_FFFF)
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
            (is_ours,) = cursor.fetchone()
            try:
                yield is_ours
            finally:
                if is_ours:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)
    finally:
        own.close()
