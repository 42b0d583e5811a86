"""Purge a large log while others append to it and read it; print one JSON line.

A million messages over many topics are copied into a database of its own, older than the general
retention. Then the sweep purges them, while one thread appends as fast as it can and another reads
ranges of what is kept, looking for holes. It shows how long purging makes a publisher wait.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from bench.servers.database import url_of

_SETTINGS: Final = "config.settings.development"
_PARTITIONS: Final = 16
_PAYLOAD: Final = '{"order":123,"state":"paid","note":"' + "x" * 240 + '"}'
_BEFORE: Final = 3.0
"""Seconds of appending before the purge begins, to compare with."""


def main() -> int:
    """Run the benchmark; return 0 when no hole was read and everything old was purged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options = add_options(parser).parse_args()
    name = f"bw_bench_{os.getpid()}_purge"
    with filled_database(options.postgres, name, rows=options.rows, topics=options.topics) as url:
        result = _measure(url, rows=options.rows)
    print(json.dumps({"benchmark": "purge", "topics": options.topics, **result}))
    return 0 if result["purged"] == options.rows and not result["holes"] else 1


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
    homes = [partition_of(name, _PARTITIONS) for name in names]
    heads, seqs = [0] * _PARTITIONS, [0] * topics
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
                        _PAYLOAD,
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


def _measure(url: str, *, rows: int) -> dict[str, Any]:
    from django.utils import timezone

    from notifications.services.retention import sweep_retention

    stop = threading.Event()
    appender, reader, locks = _Appender(stop), _Reader(stop), _Locks(stop, url)
    threads = [threading.Thread(target=one.run) for one in (appender, reader, locks)]
    for thread in threads:
        thread.start()
    time.sleep(_BEFORE)
    appender.begin("during")
    began = time.perf_counter()
    purged, runs = 0, 0
    longest_run = 0.0
    while True:
        run_began = time.perf_counter()
        count = sweep_retention(now=timezone.now())
        longest_run = max(longest_run, time.perf_counter() - run_began)
        purged, runs = purged + count, runs + 1
        print(f"run {runs}: {purged:,} purged", file=sys.stderr)
        if not count:
            break
    seconds = time.perf_counter() - began
    stop.set()
    for thread in threads:
        thread.join()
    return {
        "rows": rows,
        "purged": purged,
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


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.5, "p99": 0.99}
    found = {name: ordered[int(len(ordered) * share)] for name, share in at.items()}
    return {"count": len(ordered)} | {
        name: round(value * 1000, 1) for name, value in (found | {"max": ordered[-1]}).items()
    }


class _Appender:
    """Appends ten messages at a time to topics of all partitions, one batch after the other."""

    def __init__(self, stop: threading.Event) -> None:
        self.took: dict[str, list[float]] = {"before": [], "during": []}
        self.errors = 0
        self._stop = stop
        self._phase = "before"

    def begin(self, phase: str) -> None:
        self._phase = phase

    def run(self) -> None:
        from django.db import DatabaseError, connection

        from notifications.log.append import append
        from notifications.log.records import Publication
        from notifications.topics.partitions import partition_of

        number = 0
        while not self._stop.is_set():
            publications = []
            for _ in range(10):
                number += 1
                topic = f"shop.{number % 500}.t{number % 1000}"
                publications.append(
                    Publication(
                        topic=topic,
                        partition=partition_of(topic, _PARTITIONS),
                        payload=_PAYLOAD.encode(),
                    )
                )
            began = time.perf_counter()
            try:
                append(publications)
            except DatabaseError as error:
                self.errors += 1
                print(f"append: {error}", file=sys.stderr)
            self.took[self._phase].append(time.perf_counter() - began)
        connection.close()


class _Reader:
    """Reads what is appended, partition by partition, and counts offsets that are not there."""

    def __init__(self, stop: threading.Event) -> None:
        self.reads = self.holes = self.errors = 0
        self._stop = stop

    def run(self) -> None:
        from django.db import DatabaseError, connection

        from notifications.log.read import CHUNK, read_range, read_state

        places = dict(enumerate(read_state().heads))
        while not self._stop.is_set():
            for partition, place in places.items():
                try:
                    records = read_range(partition, place, place + CHUNK).records
                except DatabaseError as error:
                    self.errors += 1
                    print(f"read: {error}", file=sys.stderr)
                    continue
                self.reads += 1
                for record in records:
                    self.holes += record.offset - places[partition] - 1
                    places[partition] = record.offset
            time.sleep(0.01)
        connection.close()


class _Locks:
    """Looks who waits for a lock, every few milliseconds, and for how long already."""

    def __init__(self, stop: threading.Event, url: str) -> None:
        self.longest = 0.0
        self.samples = 0
        self._stop = stop
        self._url = url

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.is_set():
                row = connection.execute(
                    "SELECT extract(epoch FROM max(clock_timestamp() - query_start)) * 1000 "
                    "FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                ).fetchone()
                self.samples += 1
                if row is not None and row[0] is not None:
                    self.longest = max(self.longest, float(row[0]))
                time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main())
