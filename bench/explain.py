"""Print the plans of the log's hot queries on PostgreSQL, at a million rows.

A database of its own is filled as bench.purge does; then each query is run by the code that runs
it in service, and what was sent is explained. Exit status 1 when a plan reads a large table
without an index.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from bench.purge import add_options, filled_database

_LARGE: Final = ("notifications_message", "notifications_topic", "notifications_idempotencykey")
_SCAN: Final = re.compile(
    r"((?:Index Only|Index|Seq|Bitmap Heap) Scan(?: Backward)?)(?: using (\S+))? on (\S+)"
)
_STATEMENTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def main() -> int:
    """Explain every query; return 1 when one needs an index that is not there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options = add_options(parser).parse_args()
    name = f"bw_bench_{os.getpid()}_explain"
    wanting = 0
    with filled_database(options.postgres, name, rows=options.rows, topics=options.topics):
        _prepare()
        for title, work in _queries():
            for statement, plan in _explained(work):
                steps, milliseconds = _short(plan)
                print(f"{title}: {statement}\n    {'; '.join(steps)} ({milliseconds} ms)")
                if any(step.startswith("Seq Scan") for step in steps):
                    wanting += 1
    print(f"{wanting} without an index")
    return 1 if wanting else 0


def _prepare() -> None:
    """Fill what else has to be large, and have every statement come by."""
    from django.db import connection

    # A server-side cursor's statement is not captured.
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")  # that is for what is done in service
        cursor.execute(
            "INSERT INTO notifications_idempotencykey (publisher, key, digest, message_id, topic, "
            "seq, partition, \"offset\", published_at, expires_at) SELECT 'user:' || n % 1000, "
            "'key-' || n, 'x', gen_random_uuid(), 'a', 1, 0, 1, now(), now() "
            "FROM generate_series(1, 200000) AS n"
        )
        cursor.execute("ANALYZE")
        cursor.execute("RESET statement_timeout")


def _queries() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what is done in service, by name; each in turn, as some need what is there."""
    from datetime import timedelta

    from django.utils import timezone

    from notifications.log import purge
    from notifications.log.append import append
    from notifications.log.headlines import first_since, read_headlines
    from notifications.log.newest import read_newest
    from notifications.log.read import (
        find_topics,
        read_at,
        read_of_topics,
        read_purged,
        read_range,
        read_state,
    )
    from notifications.log.records import Publication, to_ms
    from notifications.models import Topic
    from notifications.selectors.messages import list_messages
    from notifications.services.retention import sweep_retention
    from notifications.topics.partitions import partition_of

    now = timezone.now()
    topic = Topic.objects.get(name="shop.7.t7")
    past = to_ms(now - timedelta(hours=1))
    publications = [
        Publication(
            topic=topic.name,
            partition=partition_of(topic.name, 16),
            payload=b"1",
            expires_at=past,
            idempotency_key=key,
            digest=b"x",
        )
        for key in ("a", "b")
    ]
    yield "append", lambda: append(publications)
    yield "state", read_state
    yield "read a partition", lambda: read_range(topic.partition_id, 1_000, 2_000)
    yield (
        "read a topic",
        lambda: read_of_topics(topic.partition_id, [topic.pk], 1_000, 2_000_000),
    )
    yield "headlines of a partition", lambda: read_headlines(topic.partition_id, 1_000, 9_000)
    neighbours = list(
        Topic.objects.filter(partition_id=topic.partition_id).values_list("pk", flat=True)[:1_000]
    )
    yield (
        "headlines of topics",
        lambda: read_headlines(topic.partition_id, 0, 2_000_000, topics=neighbours),
    )
    yield "messages at offsets", lambda: read_at(topic.partition_id, range(1_000, 9_000, 17))
    yield "the youngest", lambda: first_since(to_ms(now - timedelta(minutes=1)), limit=100_000)
    yield "topics of patterns", lambda: find_topics(topic.partition_id, ["shop.7.*", "shop.7.t7"])
    yield (
        "topics of a pattern with a wildcard inside",
        lambda: find_topics(topic.partition_id, ["shop.*.t7"]),
    )
    heads = read_state().heads
    for pattern, count in (("shop.7.*", 10), ("shop.7.*", 1_000), (topic.name, 1_000)):
        yield (
            f"newest {count} of {pattern}",
            partial(read_newest, pattern, [topic.partition_id], heads, count),
        )
    yield "purged topics", lambda: read_purged(topic.partition_id, 1_000, ["shop.7.*"])
    page: dict[str, Any] = {
        "topic": topic.name,
        "before": None,
        "limit": 100,
        "now": now,
    }
    yield "history page", lambda: list_messages(**page, after=3, newest_first=False)
    yield "newest page", lambda: list_messages(**page, after=None, newest_first=True)
    yield "expired", lambda: next(purge.purge_expired(now=now))
    yield "count of a topic", lambda: purge.stored_up_to(topic.pk, 20, after=0)
    yield "bytes of a topic", lambda: purge.over_bytes(topic.pk, 10_000, after=0)
    begin, end = purge.first_id_at(0), purge.first_id_at(to_ms(now - timedelta(days=7)))
    yield "old messages", lambda: purge.stored_between(begin, end, limit=4_000)
    old = purge.stored_between(begin, end, limit=8_000)
    old = [row for row in old if row.partition == topic.partition_id][: purge.BATCH]
    yield "purge of a batch", lambda: purge.purge(old, now=now)
    yield "purge of nothing", lambda: sweep_retention(now=now - timedelta(days=30))


def _explained(work: Callable[[], Any]) -> Iterator[tuple[str, list[str]]]:
    """Do something; yield each statement that it sent, shortened, with its plan.

    The plans are made after the fact and undone: a deletion then finds less, but in the same way.
    """
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        work()
    seen = set()
    for query in captured.captured_queries:
        text = query["sql"].strip()
        if not text.startswith(_STATEMENTS):
            continue
        short = _shape(text)
        if short in seen:
            continue
        seen.add(short)
        with transaction.atomic(), connection.cursor() as cursor:
            # The insertions of the log are of rows that are there by now.
            analyze = "" if text.startswith("INSERT") else "ANALYZE, "
            cursor.execute(f"EXPLAIN ({analyze}COSTS, SUMMARY) {text}".replace("%", "%%"))
            plan = [line for (line,) in cursor.fetchall()]
            transaction.set_rollback(True)
        yield short, plan


def _shape(text: str) -> str:
    """Shorten a statement to what it does to which table, and by what."""
    text = " ".join(text.replace('"', "").replace("notifications_", "").split())
    text = re.sub(r"SELECT .*? FROM", "SELECT … FROM", text, count=1)
    text = re.sub(r"\(VALUES .*?\) AS", "(VALUES …) AS", text)
    text = re.sub(r"VALUES .*?(?= ON CONFLICT|$)", "VALUES …", text)
    text = re.sub(r"IN \([^S].*?\)", "IN (…)", text)
    return text if len(text) <= 300 else text[:299] + "…"


def _short(plan: list[str]) -> tuple[list[str], str]:
    """Return the scans of a plan, and its time in milliseconds."""
    steps = []
    milliseconds = "planned only"
    for line in plan:
        if found := _SCAN.search(line):
            kind, index, table = found.groups()
            if kind == "Seq Scan" and table not in _LARGE:
                kind = "All of"
            steps.append(" ".join(part for part in (kind, index or table) if part))
        elif found := re.search(r"Bitmap Index Scan on (\S+)", line):
            steps.append(found[0])
        elif found := re.search(r"Sort Method: .*", line):
            steps.append("Sort")
        elif found := re.search(r"Execution Time: (\S+) ms", line):
            milliseconds = found[1]
    return steps or ["rows only"], milliseconds


if __name__ == "__main__":
    sys.exit(main())
