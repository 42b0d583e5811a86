"""A burst: more publishes than are taken, for a while. `bench.publish --mode burst` runs it.

Nothing may come back but 2xx, and 429 or 503 with Retry-After; memory stays bounded, and soon after
the burst nothing waits any more.
"""

import argparse
import asyncio
import time
import urllib.request
from typing import Any, Final

from bench.load.posting import connect
from bench.machine.usage import cpu_seconds, resident_kib
from bench.report import Figures
from bench.servers.contender import Server
from bench.servers.worker import Worker, worker

_WARM_SECONDS: Final = 1.0
_CAPACITY_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 60.0
_WATCH_SECONDS: Final = 0.1
_CALM_MS: Final = 100.0
_DRAIN_SECONDS: Final = 60.0
_WAITING: Final = ("bellwether_append_queue", "bellwether_publish_requests")
# What a server may answer; what the generator could not send is its own affair.
_FINE: Final = {"200", "201", "429", "503", "not sent"}


async def measure_burst(
    server: Server, chosen: argparse.Namespace, *, metrics_token: str
) -> Figures:
    """Find what is taken, offer `times` as much for `seconds`, and wait until it is drained."""
    topics = [f"bench.{number}.orders" for number in range(chosen.topics)]
    common: dict[str, Any] = {"payload_bytes": chosen.payload, "topics": topics}
    async with worker("bench.load.publisher") as publisher:
        capacity = await _capacity(server, publisher, chosen, common)
        memory = resident_kib(server.pid)
        peak = [memory]
        watching = asyncio.create_task(_watch(server.pid, peak))
        before, load_before = cpu_seconds(server.pid), cpu_seconds(publisher.pid)
        flooded = await publisher.ask(
            "burst",
            within=chosen.seconds + _ANSWER_SECONDS + 5,
            timeout=_ANSWER_SECONDS,
            endpoint=_endpoint(server, chosen),
            rate=capacity * chosen.times / chosen.messages,
            seconds=chosen.seconds,
            messages=chosen.messages,
            connections=chosen.connections,
            **common,
        )
        cpu = cpu_seconds(server.pid) - before
        load_cpu = cpu_seconds(publisher.pid) - load_before
        drained = await _drained(server, metrics_token)
        watching.cancel()
    statuses = flooded["statuses"]
    taken = flooded["taken_per_second"]
    # A burst may fill the server better than those who wait for their answers, and what it then
    # takes is its capacity.
    most = max(capacity, taken)
    return {
        "complete": set(statuses) <= _FINE
        and not flooded["without_retry_after"]
        and drained is not None,
        "capacity_per_second": capacity,
        "offered_per_second": flooded["offered_per_second"],
        "sent_per_second": flooded["sent_per_second"],
        "times": flooded["sent_per_second"] / most,
        "times_offered": flooded["offered_per_second"] / most,
        "requests_taken": statuses.get("200", 0) + statuses.get("201", 0),
        "requests_refused": statuses.get("429", 0) + statuses.get("503", 0),
        "requests_not_sent": statuses.get("not sent", 0),
        "messages_per_second": taken,
        "statuses": statuses,
        "without_retry_after": flooded["without_retry_after"],
        "p50_ms": flooded["p50_ms"],
        "p99_ms": flooded["p99_ms"],
        "peak_rss_growth_kib": peak[0] - memory,
        "rss_after_growth_kib": resident_kib(server.pid) - memory,
        "drained_seconds": drained,
        "server_core_busy": cpu / chosen.seconds,
        "load_core_busy": load_cpu / chosen.seconds,
    }


async def _capacity(
    server: Server, publisher: Worker, chosen: argparse.Namespace, common: dict[str, Any]
) -> float:
    """Return how many messages a second are taken when each is waited for."""
    for seconds in (_WARM_SECONDS, _CAPACITY_SECONDS):
        posted = await publisher.ask(
            "post" if chosen.messages == 1 else "post_batches",
            within=seconds + _ANSWER_SECONDS + 5,
            timeout=_ANSWER_SECONDS,
            endpoint=_endpoint(server, chosen),
            concurrency=chosen.concurrency,
            seconds=seconds,
            messages=chosen.messages,
            ndjson=False,
            **common,
        )
    messages: float = posted["requests"] * chosen.messages
    return messages / float(posted["seconds"])


def _endpoint(server: Server, chosen: argparse.Namespace) -> dict[str, Any]:
    endpoint = server.endpoint
    if chosen.messages > 1:
        endpoint = endpoint._replace(path=f"{endpoint.path}/batch")
    return endpoint._asdict()


async def _watch(pid: int, peak: list[float]) -> None:
    while True:
        peak[0] = max(peak[0], resident_kib(pid))
        await asyncio.sleep(_WATCH_SECONDS)


async def _drained(server: Server, metrics_token: str) -> float | None:
    """Wait until nothing waits and a publish is answered at once; seconds, None if it is not."""
    start = time.monotonic()
    body = b'{"topic":"bench.0.orders","payload":null}'
    while time.monotonic() - start < _DRAIN_SECONDS:
        poster = await connect(server.endpoint.port)
        try:
            sent = time.monotonic()
            async with asyncio.timeout(_DRAIN_SECONDS):
                status = await poster.post(server.endpoint.request(body))
            is_quick = (time.monotonic() - sent) * 1000 <= _CALM_MS
        except (OSError, ValueError, TimeoutError):
            status, is_quick = 0, False
        finally:
            poster.close()
        waiting = await asyncio.to_thread(_metrics, server, metrics_token)
        if status == 201 and is_quick and not any(waiting):
            return time.monotonic() - start
        await asyncio.sleep(_WATCH_SECONDS)
    return None


def _metrics(server: Server, token: str) -> list[float]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.endpoint.port}/metrics",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return [float(values[name]) for name in _WAITING]
