"""Celery's door: one task for each sweep, run by beat.

The schedule is CELERY_BEAT_SCHEDULE in the settings; where beat runs, switch the servers' own
timers off with NOTIFICATIONS_EMBEDDED_SWEEPS=off. Every sweep may run twice without harm; the lock
only spares the work when the last run takes longer than the interval.

Tasks take keywords only and end in `**kwargs`, so that workers of the last version and beat of
the next one, or the reverse, understand each other while a deploy is under way.
"""

import time
from collections.abc import Callable
from typing import Any

from celery import shared_task
from django.utils import timezone

from notifications.conf import conf
from notifications.services.sweeps import BREATH, run_alone

SOFT_TIME_LIMIT = 240
"""Seconds until a sweep is interrupted; what it had committed stays, the next run goes on."""

TIME_LIMIT = 270
"""Seconds until the worker's process is killed, when the interruption did not help."""

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
def sweep_expired_messages(*, until: float = 0.0, **_: Any) -> None:
    """Delete the messages that have expired."""
    _run_on(sweep_expired_messages, "expired_messages", until)


@_sweep_task
def sweep_retention(*, until: float = 0.0, **_: Any) -> None:
    """Purge the messages that the policies of their topics keep no longer."""
    _run_on(sweep_retention, "retention", until)


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
    run_alone(name, now=timezone.now())


def _run_on(task: Any, name: str, until: float) -> None:
    """Run a sweep; have it go on at once where it left something, until beat's next run of it.

    It is put into the queue again, so that the other tasks get their turn. until: when beat has
    its next run, in seconds since 1970; 0 when this is beat's.
    """
    pause = conf().sweep_interval
    until = until or time.time() + pause
    if run_alone(name, now=timezone.now()) and time.time() < until:
        task.apply_async(kwargs={"until": until}, countdown=BREATH, expires=pause)
