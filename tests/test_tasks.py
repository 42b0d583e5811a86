"""Celery's door: its tasks, their schedule, their lock, and a real worker and beat."""

import inspect
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from django.utils import timezone
from redis import Redis

from config.celery import app
from notifications import tasks
from notifications.models import IdempotencyKey, Message, PendingPublication
from notifications.services.alone import key_of
from notifications.services.sweeps import PURGES, SWEEPS
from tests.backends import REDIS
from tests.deployment import ROOT, Deployment

SCHEDULE: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
NAMES = [f"notifications.tasks.sweep_{name}" for name in SWEEPS]


def leave_behind() -> None:
    """Write an outbox row as a process does that dies before it carries it on."""
    moment = timezone.now() - timedelta(minutes=1)
    PendingPublication.objects.create(
        topic="left.behind",
        payload="1",
        publisher="system",
        created_at=moment,
        next_attempt_at=moment,
    )


def test_every_sweep_has_a_task_and_a_place_in_the_schedule() -> None:
    app.loader.import_default_modules()
    assert {name for name in app.tasks if name.startswith("notifications.")} == set(NAMES)
    assert Counter(entry["task"] for entry in SCHEDULE.values()) == Counter(NAMES)


def test_the_schedule_follows_the_interval() -> None:
    interval = settings.NOTIFICATIONS["SWEEP_INTERVAL"]
    for name, entry in SCHEDULE.items():
        pause = min(interval, 5) if name == "sweep-deliveries" else interval
        assert entry["schedule"] == timedelta(seconds=pause)
        assert entry["options"]["expires"] == pause


@pytest.mark.parametrize("name", NAMES)
def test_tasks_understand_the_callers_of_the_next_version(name: str) -> None:
    task = current_app.tasks[name]
    kinds = {p.kind for p in inspect.signature(task.run).parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    assert inspect.Parameter.VAR_KEYWORD in kinds
    assert task.ignore_result
    assert 0 < task.soft_time_limit < task.time_limit


@pytest.mark.django_db(transaction=True)
def test_the_outbox_task_appends_what_was_left_behind() -> None:
    leave_behind()
    tasks.sweep_outbox.delay(of_the_next_version=True)
    assert Message.objects.get().topic.name == "left.behind"
    assert not PendingPublication.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", list(SWEEPS))
def test_every_task_runs_its_sweep(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(sweep: str, **_: Any) -> bool:
        ran.append(sweep)
        return False

    monkeypatch.setattr(tasks, "run_alone", run)
    getattr(tasks, f"sweep_{name}").delay()
    assert ran == [name]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", list(PURGES))
def test_a_purge_that_left_something_goes_on_until_beat_runs_it_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = getattr(tasks, f"sweep_{name}")
    queued: list[dict[str, Any]] = []
    monkeypatch.setattr(task, "apply_async", lambda **call: queued.append(call))
    left = [True, True, True, False]
    monkeypatch.setattr(tasks, "run_alone", lambda sweep, **_: left.pop(0))
    interval, clock = settings.NOTIFICATIONS["SWEEP_INTERVAL"], [1_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    task.run()
    assert queued == [{"kwargs": {"until": 1_000 + interval}, "countdown": 1, "expires": interval}]
    clock[0] += interval - 1
    task.run(**queued[0]["kwargs"])
    assert queued[1:] == queued[:1], "still to the same moment"
    clock[0] += 1
    task.run(**queued[1]["kwargs"])
    task.run()
    assert not left
    assert len(queued) == 2


@contextmanager
def held_elsewhere(name: str) -> Iterator[None]:
    """Hold a sweep's lock on a connection of another process."""
    other = connection.copy()
    other.settings_dict = {**other.settings_dict, "OPTIONS": {}}
    key = key_of(name)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", key)
            yield
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_a_sweep_that_runs_elsewhere_is_left_to_it() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no advisory locks; it serves one host")
    IdempotencyKey.objects.create(
        publisher="p",
        key="k",
        digest=b"",
        message_id="0" * 32,
        topic="t",
        seq=1,
        partition=0,
        offset=1,
        published_at=timezone.now() - timedelta(days=2),
        expires_at=timezone.now() - timedelta(days=1),
    )
    with held_elsewhere("idempotency_keys"):
        tasks.sweep_idempotency_keys.delay()
        assert IdempotencyKey.objects.exists()
        # Another sweep's lock is another one.
        leave_behind()
        tasks.sweep_outbox.delay()
        assert Message.objects.exists()
    tasks.sweep_idempotency_keys.delay()
    assert not IdempotencyKey.objects.exists()
    # The lock was given back, so it can be had again at once.
    with held_elsewhere("idempotency_keys"):
        pass


def stop(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end; how soon Celery does is not tested here."""
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.mark.server
@pytest.mark.postgres
@pytest.mark.redis
def test_beat_and_a_worker_carry_on_what_was_left_behind(
    cluster: Deployment, tmp_path: Path
) -> None:
    broker = f"{REDIS.rstrip('/')}/5"  # where no other test leaves anything
    env = cluster.env | {
        "DEBUG": "1",
        "CELERY_BROKER_URL": broker,
        "NOTIFICATIONS_SWEEP_INTERVAL_SECONDS": "1",
    }
    cluster.query(
        "INSERT INTO notifications_pendingpublication (topic, payload, metadata, publisher, "
        "created_at, attempts, last_error, next_attempt_at) VALUES ('left.behind', '1', '', "
        "'system', now() - interval '1 minute', 0, '', now() - interval '1 minute') RETURNING id"
    )
    celery = [sys.executable, "-m", "celery", "-A", "config"]
    worker = [*celery, "worker", "--concurrency", "1", "--loglevel", "INFO"]
    beat = [*celery, "beat", "--schedule", str(tmp_path / "beat"), "--loglevel", "INFO"]
    log = tmp_path / "celery.log"
    with log.open("wb") as output:
        processes = [
            subprocess.Popen(
                [*command, f"--pidfile={tmp_path / str(place)}"],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for place, command in enumerate((worker, beat))
        ]
        try:
            deadline = time.monotonic() + 60
            while cluster.query("SELECT 1 FROM notifications_pendingpublication"):
                assert time.monotonic() < deadline, log.read_text()
                assert all(process.poll() is None for process in processes), log.read_text()
                time.sleep(0.2)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                stop(process)
            with Redis.from_url(broker) as redis:
                redis.delete("celery")
    topics = cluster.query(
        "SELECT t.name, m.seq FROM notifications_topic t JOIN notifications_message m "
        "ON m.topic_id = t.id"
    )
    assert topics == [("left.behind", 1)]
    assert "Traceback" not in log.read_text()
