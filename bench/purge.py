"""Purge a large log while others append to it, read it, and resume; print one JSON line.

A million messages over many topics are copied into a database of its own, older than the general
retention. Then the sweeps purge them, while one thread appends as fast as it can and another reads
ranges of what is kept, looking for holes. Beside them a server serves the same database, and its
clients go and come back all the time: each looks for what it missed or got twice, and for messages
that came after they had expired. It shows how long purging makes a publisher wait.
"""

import argparse
import asyncio
import io
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from bench.beside import PARTITIONS, PAYLOAD, Appender, Locks, Reader
from bench.servers.database import url_of
from bench.servers.process import free_port, serving
from bench.servers.worker import worker

_SETTINGS: Final = "config.settings.development"
_ROOT: Final = Path(__file__).resolve().parents[1]
_BEFORE: Final = 3.0
"""Seconds of appending before the purge begins, to compare with."""
LOCK_WAIT_MS: Final = 200
"""The longest wait for a lock that a run may show."""
_CLIENTS: Final = 20
_CATCH_UP: Final = 60
"""Seconds that the clients have at the end to get what is left for them."""


def main() -> int:
    """Run the benchmark; return 0 when everything old was purged and nothing went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options = add_options(parser).parse_args()
    name = f"bw_bench_{os.getpid()}_purge"
    with filled_database(options.postgres, name, rows=options.rows, topics=options.topics) as url:
        result = asyncio.run(_measure(url, rows=options.rows))
    print(json.dumps({"benchmark": "purge", "topics": options.topics, **result}))
    found = faults(result)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


def add_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options that say how large a log is filled, and where."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="old messages")
    parser.add_argument("--topics", type=int, default=10_000, help="topics that they are of")
    parser.add_argument("--postgres", default="postgres://root@127.0.0.1:5432", help="server URL")
    return parser


@contextmanager
def filled_database(server: str, name: str, *, rows: int, topics: int) -> Iterator[str]:
    """Make a database with a large log, set Django up on it, yield its URL, and drop it."""
    with _database(server, name) as url:
        os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": _SETTINGS}
        os.environ.pop("REDIS_URL", None)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        print(f"filling {rows:,} rows", file=sys.stderr)
        _fill(url, rows=rows, topics=topics)
        yield url


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    with psycopg.connect(url_of(server, "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield url_of(server, name)
    finally:
        with psycopg.connect(url_of(server, "postgres"), autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


def _fill(url: str, *, rows: int, topics: int) -> None:
    """Copy messages in: eight to nine days old, their topics in turn."""
    from notifications.log.records import new_message_id, to_datetime
    from notifications.topics.partitions import partition_of

    begin = int((time.time() - 9 * 86_400) * 1000)
    names = [f"shop.{number % 500}.t{number}" for number in range(topics)]
    homes = [partition_of(name, PARTITIONS) for name in names]
    heads, seqs = [0] * PARTITIONS, [0] * topics
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        with cursor.copy(
            'COPY notifications_message (id, partition_id, "offset", topic_id, seq, payload, '
            "metadata, publisher, published_at) FROM STDIN"
        ) as copy:
            for number in range(rows):
                topic = number % topics
                heads[homes[topic]] += 1
                seqs[topic] += 1
                moment = begin + number * 86_400_000 // rows
                copy.write_row(
                    (
                        new_message_id(moment),
                        homes[topic],
                        heads[homes[topic]],
                        topic + 1,
                        seqs[topic],
                        PAYLOAD.decode(),
                        "",
                        "system",
                        to_datetime(moment),
                    )
                )
        cursor.executemany(
            "INSERT INTO notifications_topic (name, partition_id, seq, created_at, "
            "last_published_at) VALUES (%s, %s, %s, now(), now())",
            list(zip(names, homes, seqs, strict=True)),
        )
        cursor.executemany(
            "UPDATE notifications_partition SET head = %s WHERE id = %s",
            [(head, partition) for partition, head in enumerate(heads)],
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[int, str]]:
    """Serve the database; yield the port, and an API key that may subscribe to everything."""
    from django.core.management import call_command

    key = io.StringIO()
    await asyncio.to_thread(
        call_command, "create_api_key", "bench", grant_subscribe=["**"], stdout=key
    )
    port = free_port()
    command = [sys.executable, "manage.py", "serve", "--host=127.0.0.1", f"--port={port}"]
    own = {"NOTIFICATIONS_EMBEDDED_SWEEPS": "off", "NOTIFICATIONS_RATE_LIMITS": "off"}
    async with serving(command, cwd=_ROOT, env=os.environ | own, port=port, ready="/readyz"):
        yield port, key.getvalue().strip()


def _seqs() -> dict[str, int]:
    from notifications.models import Topic

    wanted = [f"brief.t{number}" for number in range(_CLIENTS)]
    wanted += [f"shop.{number % 500}.t{number}" for number in range(1_000)]
    found = dict(Topic.objects.filter(name__in=wanted).values_list("name", "seq"))
    return {name: found.get(name, 0) for name in wanted}


def _patterns(number: int) -> list[str]:
    # Ten of one partition each, and one that every partition can have.
    few = [f"shop.{number * 10 + one}.*" for one in range(10)]
    return [*few, f"shop.*.t{number}", f"brief.t{number}"]


async def _measure(url: str, *, rows: int) -> dict[str, Any]:
    async with _served() as (port, token), worker("bench.load.absences") as clients:
        await clients.ask(
            "begin",
            within=60,
            port=port,
            token=token,
            begins=await asyncio.to_thread(_seqs),
            patterns=[_patterns(number) for number in range(_CLIENTS)],
        )
        result = await asyncio.to_thread(_purge, url, rows=rows)
        ends = await asyncio.to_thread(_seqs)
        found = await clients.ask("end", within=_CATCH_UP + 30, ends=ends, seconds=_CATCH_UP)
    return result | {"clients": {"clients": _CLIENTS, **found}}


def _purge(url: str, *, rows: int) -> dict[str, Any]:
    from django.utils import timezone

    from notifications.services.retention import sweep_expired_messages, sweep_retention

    stop = threading.Event()
    appender, reader, locks = Appender(stop, brief=_CLIENTS), Reader(stop), Locks(stop, url)
    threads = [threading.Thread(target=one.run) for one in (appender, reader, locks)]
    for thread in threads:
        thread.start()
    time.sleep(_BEFORE)
    appender.begin("during")
    began = time.perf_counter()
    purged, expired, runs = 0, 0, 0
    longest_run = 0.0
    while True:
        run_began = time.perf_counter()
        count = sweep_retention(now=timezone.now())
        longest_run = max(longest_run, time.perf_counter() - run_began)
        purged, runs = purged + count, runs + 1
        print(f"run {runs}: {purged:,} purged", file=sys.stderr)
        if not count:
            break
        expired += sweep_expired_messages(now=timezone.now())
    seconds = time.perf_counter() - began
    stop.set()
    for thread in threads:
        thread.join()
    return {
        "rows": rows,
        "purged": purged,
        "expired": expired,
        "seconds": round(seconds, 1),
        "rows_per_s": round(purged / seconds),
        "runs": runs,
        "longest_run_s": round(longest_run, 1),
        "append_ms": {phase: _spread(values) for phase, values in appender.took.items()},
        "longest_lock_wait_ms": round(locks.longest, 1),
        "lock_samples": locks.samples,
        "reads": reader.reads,
        "holes": reader.holes,
        "errors": appender.errors + reader.errors,
    }


def faults(result: dict[str, Any]) -> list[str]:
    """Return what a run shows that must not be, and what it had to show to be worth anything."""
    clients = result["clients"]
    wrong = {name: result[name] for name in ("holes", "errors") if result[name]}
    broken = ("late", "missing", "repeated", "gaps", "unrecovered", "errors")
    wrong |= {f"clients: {name}": clients[name] for name in broken if clients[name]}
    if result["purged"] != result["rows"]:
        wrong["purged"] = result["purged"]
    if result["longest_lock_wait_ms"] > LOCK_WAIT_MS:
        wrong["longest_lock_wait_ms"] = result["longest_lock_wait_ms"]
    needed = ("resumes", "replayed", "live", "in_time", "withheld")
    wrong |= {f"clients: {name}": 0 for name in needed if not clients[name]}
    return [f"{name} is {value}" for name, value in wrong.items()]


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p99": 0.99}
    found = {name: ordered[int(len(ordered) * share)] for name, share in at.items()}
    return {"count": len(ordered)} | {
        name: round(value * 1000, 1) for name, value in (found | {"max": ordered[-1]}).items()
    }


if __name__ == "__main__":
    sys.exit(main())
