"""What goes on in the database beside a purge: others append, read, and wait for locks."""

import sys
import threading
import time
from typing import Final

import psycopg

PARTITIONS: Final = 16
PAYLOAD: Final = b'{"order":123,"state":"paid","note":"' + b"x" * 240 + b'"}'
BRIEF_MS: Final = 2_000
"""How long the messages that expire are delivered for, in milliseconds."""


class Appender:
    """Appends ten messages at a time to topics of all partitions, one batch after the other.

    One of each ten expires soon, and its payload says when.
    """

    def __init__(self, stop: threading.Event, *, brief: int) -> None:
        """brief: how many topics have such messages."""
        self._brief = brief
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
                topic, payload, until = f"shop.{number % 500}.t{number % 1000}", PAYLOAD, 0
                if number % 10 == 0:
                    topic = f"brief.t{number // 10 % self._brief}"
                    until = time.time_ns() // 1_000_000 + BRIEF_MS
                    payload = b'{"until":%d}' % until
                publications.append(
                    Publication(
                        topic=topic,
                        partition=partition_of(topic, PARTITIONS),
                        payload=payload,
                        expires_at=until,
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


class Reader:
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


class Locks:
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
