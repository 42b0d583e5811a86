"""Many clients come back at once: what it costs the server to give each what it missed.

Prints a JSON line for a server that was restarted meanwhile, so that its replay cache is empty,
and one for a server that was not. With --purged, messages that none of them wants were purged
meanwhile, in every partition. With --away, one line for a client of few topics that was away
while many messages went to others. bench/README.md explains them.
"""

import argparse
import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import psycopg

from bench import command, report
from bench.load.stamps import notification
from bench.machine.clock import stamp
from bench.machine.usage import cpu_seconds, resident_kib
from bench.progress import steps
from bench.servers.contender import Server, Site
from bench.servers.ours import Ours
from bench.servers.worker import Worker, worker
from notifications.topics.partitions import partition_of

_CONNECTS_AT_ONCE: Final = 50
_CALM_SECONDS: Final = 1.0
_WATCH_SECONDS: Final = 0.05
_BATCH: Final = 500
_AWAY_TOPICS: Final = 1_000
_PURGED_TOPICS: Final = 400
_READS: Final = ("bellwether_replay_reads_total", "bellwether_log_reads_total")

_FILL_TOPICS = """
INSERT INTO notifications_topic (name, partition_id, seq, created_at, last_published_at)
SELECT name, %(partition)s, %(each)s, now(), now() FROM unnest(%(names)s::text[]) AS name
"""
_FILL_MESSAGES = """
INSERT INTO notifications_message
    (id, partition_id, "offset", topic_id, seq, payload, metadata, publisher, published_at)
SELECT gen_random_uuid(), p.id, p.head + row_number() OVER (ORDER BY s.seq, t.id), t.id, s.seq,
    %(payload)s, '', 'system', now()
FROM notifications_partition p
JOIN notifications_topic t ON t.partition_id = p.id AND t.name = ANY(%(names)s)
CROSS JOIN generate_series(1, %(each)s) AS s(seq)
WHERE p.id = %(partition)s
"""
_ADVANCE = "UPDATE notifications_partition SET head = head + %(count)s WHERE id = %(partition)s"


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--missed", type=int, default=20, help="messages that each client missed")
    parser.add_argument("--users", type=int, default=0, help="with a token each; 0: one API key")
    parser.add_argument("--topics", type=int, default=50, help="each client wants one of them")
    parser.add_argument("--purged", action="store_true", help="others' messages were purged")
    parser.add_argument("--away", action="store_true", help="one client, away for long")
    parser.add_argument("--others", type=int, default=300_000, help="away: others' messages")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each client")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.clients, chosen.others = 200, 20_000
    return chosen


def publish(server: Server, topics: Sequence[str], payload_bytes: int) -> set[int]:
    """Publish one message to each topic named, in their order; return the partitions they are in.

    The payloads carry no stamp that anyone reads.
    """
    head, tail = notification(payload_bytes)
    payload = json.loads(head + str(stamp()).encode() + tail)
    partitions: set[int] = set()
    for first in range(0, len(topics), _BATCH):
        batch = [{"topic": one, "payload": payload} for one in topics[first : first + _BATCH]]
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.endpoint.port}/api/v1/publish/batch",
            json.dumps({"messages": batch}).encode(),
            {"Content-Type": "application/json", "Authorization": server.endpoint.authorization},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            partitions |= {one["position"][0] for one in json.loads(answer.read())["results"]}
    return partitions


def reads(server: Server, token: str) -> dict[str, int]:
    """Ask the server how often it has read the log."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.endpoint.port}/metrics",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: int(float(values[name])) for name in _READS}


async def _watch(pid: int, peak: list[float]) -> None:
    while True:
        peak[0] = max(peak[0], resident_kib(pid))
        await asyncio.sleep(_WATCH_SECONDS)


async def come_back(
    server: Server, clients: Worker, ours: Ours, chosen: argparse.Namespace, partitions: set[int]
) -> dict[str, Any]:
    """Have all clients resume at once; return the figures."""
    await asyncio.sleep(_CALM_SECONDS)
    before = await asyncio.to_thread(reads, server, ours.metrics_token)
    memory = resident_kib(server.pid)
    peak = [memory]
    watching = asyncio.create_task(_watch(server.pid, peak))
    used, began = cpu_seconds(server.pid), time.monotonic()
    answer = await clients.ask(
        "resume",
        within=chosen.timeout + 10,
        port=server.endpoint.port,
        missed=chosen.missed,
        timeout=chosen.timeout,
    )
    used = cpu_seconds(server.pid) - used
    busy = used / (time.monotonic() - began)
    watching.cancel()
    after = await asyncio.to_thread(reads, server, ours.metrics_token)
    read = {name: after[name] - before[name] for name in _READS}
    if answer["failures"]:
        print(f"connections that failed: {answer['failures']}", file=sys.stderr)
    return {
        "complete": answer["done"] == chosen.clients and not answer["wrong"],
        "clients": chosen.clients,
        "recovered": answer["done"],
        "attempts": answer["attempts"],
        "messages_replayed": answer["messages"],
        "seconds": round(answer["seconds"], 3),
        "clients_per_second": round(answer["done"] / answer["seconds"], 1),
        "authenticated_seconds": round(answer["authenticated_seconds"], 3),
        "authenticated_per_second": round(
            answer["done"] / max(1e-6, answer["authenticated_seconds"]), 1
        ),
        "replay_reads": read[_READS[0]],
        "log_reads": read[_READS[1]],
        "partitions": len(partitions),
        "reads_per_partition": round(sum(read.values()) / len(partitions), 2),
        "cpu_ms_per_client": round(used * 1e3 / max(1, answer["done"]), 3),
        "cpu_us_per_message": round(used * 1e6 / max(1, answer["messages"]), 1),
        "server_core_busy": round(busy, 3),
        "peak_rss_growth_kib": round(peak[0] - memory),
    }


async def leave(
    server: Server,
    clients: Worker,
    chosen: argparse.Namespace,
    patterns: list[str],
    number: int,
    tokens: Sequence[str] = (),
) -> None:
    """Have so many clients subscribe and go away. tokens: theirs in turn; or all have the key."""
    answer = await clients.ask(
        "leave",
        within=chosen.timeout + 10,
        run=server.target.run,
        port=server.endpoint.port,
        tokens=[*tokens] or [server.target.token],
        patterns=patterns,
        count=number,
        at_once=_CONNECTS_AT_ONCE,
        timeout=chosen.timeout,
    )
    if answer["done"] != number:
        raise RuntimeError(f"not all clients subscribed: {answer}")


def show(figures: dict[str, Any], mode: str, chosen: argparse.Namespace) -> bool:
    """Print the line of one run."""
    settings = {"users": chosen.users, "missed": chosen.missed, "payload_bytes": chosen.payload}
    settings |= (
        {"others": chosen.others}
        if mode == "away"
        else {"topics": chosen.topics, "purged": chosen.purged}
    )
    result = {"benchmark": "resume", "mode": mode, **figures, "settings": settings}
    report.emit(result | {"machine": report.machine()})
    return bool(figures["complete"])


async def miss(
    ours: Ours, server: Server, url: str, missed: Sequence[str], chosen: argparse.Namespace
) -> set[int]:
    """Publish what the clients miss; return the partitions it is in. With --purged, publish also
    to topics that nobody has, in all partitions, and have all but the newest of each purged."""
    if chosen.purged:
        others = [f"bench.other-{number}.few" for number in range(_PURGED_TOPICS)]
        await asyncio.to_thread(publish, server, others * 2, chosen.payload)
        await ours.manage("policy", "bench.*.few", "--retention-count", "1", database_url=url)
        await ours.manage("sweep", database_url=url)
    return await asyncio.to_thread(publish, server, missed, chosen.payload)


async def storm(ours: Ours, chosen: argparse.Namespace) -> bool:
    """Many clients, after a restart and without one."""
    topics = [f"bench.room-{number}.news" for number in range(chosen.topics)]
    missed = topics * chosen.missed
    async with ours.copied() as url, worker("bench.load.resuming") as clients:
        tokens = await ours.tokens(url, chosen.users) if chosen.users else []
        async with ours.served(url) as server:
            await leave(server, clients, chosen, topics, chosen.clients, tokens)
            partitions = await miss(ours, server, url, missed, chosen)
        async with ours.served(url) as server:
            figures = await come_back(server, clients, ours, chosen, partitions)
            complete = show(figures, "restarted", chosen)
            await miss(ours, server, url, missed, chosen)
            figures = await come_back(server, clients, ours, chosen, partitions)
            return show(figures, "warm", chosen) and complete


async def away(ours: Ours, chosen: argparse.Namespace) -> bool:
    """One client of few topics, while many messages went to others in its partition."""
    chosen.clients = 1
    mine = [f"bench.1.t{number % 5}" for number in range(chosen.missed)]
    half = chosen.missed // 2
    async with ours.copied() as url, worker("bench.load.resuming") as clients:
        async with ours.served(url) as server:
            await leave(server, clients, chosen, ["bench.1.*"], 1)
            await asyncio.to_thread(publish, server, mine[:half], chosen.payload)
        await asyncio.to_thread(fill, url, chosen.others, chosen.payload)
        async with ours.served(url) as server:
            partitions = await asyncio.to_thread(publish, server, mine[half:], chosen.payload)
        async with ours.served(url) as server:
            figures = await come_back(server, clients, ours, chosen, partitions)
            return show(figures, "away", chosen)


def fill(url: str, messages: int, payload_bytes: int) -> None:
    """Write others' messages into the partition of `bench.1.*`, no server being up."""
    head, tail = notification(payload_bytes)
    with psycopg.connect(url.replace("postgres://", "postgresql://", 1)) as database:
        row = database.execute("SELECT partition_count FROM notifications_log").fetchone()
        assert row is not None
        partition = partition_of("bench.1", row[0])
        others = (f"bench.{number}" for number in count(2))
        neighbour = next(name for name in others if partition_of(name, row[0]) == partition)
        values = {
            "partition": partition,
            "names": [f"{neighbour}.t{number}" for number in range(_AWAY_TOPICS)],
            "each": messages // _AWAY_TOPICS,
            "count": messages // _AWAY_TOPICS * _AWAY_TOPICS,
            "payload": (head + str(stamp()).encode() + tail).decode(),
        }
        for statement in (_FILL_TOPICS, _FILL_MESSAGES, _ADVANCE):
            database.execute(statement, values)
    with psycopg.connect(
        url.replace("postgres://", "postgresql://", 1), autocommit=True
    ) as database:
        database.execute("ANALYZE")  # as autovacuum does after so many


async def main() -> bool:
    """Run what the options ask for; tell whether all is complete."""
    chosen = options()
    site = Site(chosen.postgres, chosen.redis, str(time.time_ns() % 10**9))
    ours = Ours(site, project=chosen.project.resolve(), token=chosen.token)
    with steps(total=2) as step:
        step("preparing")
        async with ours.prepared():
            step("one client, away for long" if chosen.away else "many clients come back")
            return await (away if chosen.away else storm)(ours, chosen)


if __name__ == "__main__":
    sys.exit(command.run(main))
