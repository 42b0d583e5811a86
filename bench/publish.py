"""Durable publishes over REST: how many a second one server process takes.

`--mode single` posts one message at a time, `--mode batch` 1,000, `--mode burst` ten times as many
as are taken, to see what becomes of the others. Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from typing import Any, Final

from bench import command, report
from bench.burst import measure_burst
from bench.machine.usage import cpu_seconds
from bench.report import Figures
from bench.servers.contender import Contender, Server
from bench.servers.ours import Ours
from bench.servers.worker import Worker, worker

_WARM_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 15.0
# In a request. Of a burst of single messages, most find every connection waiting and are not sent.
_MESSAGES: Final = {"single": 1, "batch": 1_000, "burst": 100}


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--mode", choices=("single", "batch", "burst"), default="single")
    parser.add_argument(
        "--concurrency", type=int, help="connections, a request each (32, by the batch 4)"
    )
    parser.add_argument("--seconds", type=float, help="length of a round (5, a burst 30)")
    parser.add_argument("--topics", type=int, default=100, help="that the publishes go to in turn")
    parser.add_argument("--messages", type=int, help="in a request (batch 1,000, burst 100)")
    parser.add_argument("--ndjson", action="store_true", help="batch: lines instead of an array")
    parser.add_argument("--times", type=float, default=10, help="burst: of what is taken")
    parser.add_argument("--connections", type=int, default=4_000, help="burst: open at most")
    chosen = parser.parse_args(arguments)
    is_burst = chosen.mode == "burst"
    chosen.concurrency = chosen.concurrency or (4 if chosen.mode == "batch" else 32)
    chosen.seconds = chosen.seconds or (30.0 if is_burst else 5.0)
    chosen.messages = chosen.messages or _MESSAGES[chosen.mode]
    if is_burst:
        chosen.only = "ours"  # the plain way has no bound that could be looked at
        chosen.rounds = 1
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 2.0
    return chosen


async def measure(side: Contender, server: Server, chosen: argparse.Namespace) -> Figures:
    """Post for the chosen time and return the figures."""
    if chosen.mode == "burst":
        assert isinstance(side, Ours)
        return await measure_burst(server, chosen, metrics_token=side.metrics_token)
    async with worker("bench.load.publisher") as publisher:
        post = _post_batches if chosen.mode == "batch" else _post
        await post(side, server, publisher, chosen, seconds=_WARM_SECONDS)
        before, load_before = cpu_seconds(server.pid), cpu_seconds(publisher.pid)
        posted = await post(side, server, publisher, chosen, seconds=chosen.seconds)
        cpu = cpu_seconds(server.pid) - before
        load_cpu = cpu_seconds(publisher.pid) - load_before
    messages = posted["messages"]
    return {
        "complete": messages > 0 and not posted["statuses"] and not posted.get("refused"),
        "requests": posted["requests"],
        "requests_per_second": posted["requests"] / posted["seconds"],
        "messages_per_second": messages / posted["seconds"],
        "cpu_us_per_publish": cpu * 1e6 / messages if messages else None,
        "server_core_busy": cpu / posted["seconds"],
        "load_core_busy": load_cpu / posted["seconds"],
        "p50_ms": posted["p50_ms"],
        "p99_ms": posted["p99_ms"],
        "max_ms": posted["max_ms"],
        "not_2xx": sum(posted["statuses"].values()),
        "statuses": posted["statuses"],
    }


async def _post(
    side: Contender,
    server: Server,
    publisher: Worker,
    chosen: argparse.Namespace,
    *,
    seconds: float,
) -> dict[str, Any]:
    posted = await publisher.ask(
        "post",
        within=seconds + _ANSWER_SECONDS + 5,
        timeout=_ANSWER_SECONDS,
        endpoint=server.endpoint._asdict(),
        concurrency=chosen.concurrency,
        seconds=seconds,
        payload_bytes=chosen.payload,
        topics=topics(chosen),
    )
    return posted | {"messages": posted["requests"]}


async def _post_batches(
    side: Contender,
    server: Server,
    publisher: Worker,
    chosen: argparse.Namespace,
    *,
    seconds: float,
) -> dict[str, Any]:
    endpoint = server.endpoint
    return await publisher.ask(
        "post_batches",
        within=seconds + _ANSWER_SECONDS + 5,
        timeout=_ANSWER_SECONDS,
        endpoint=endpoint._replace(path=f"{endpoint.path}/batch")._asdict(),
        concurrency=chosen.concurrency,
        seconds=seconds,
        payload_bytes=chosen.payload,
        topics=topics(chosen),
        messages=chosen.messages,
        # REST framework has no parser for lines.
        ndjson=chosen.ndjson and isinstance(side, Ours),
    )


def topics(chosen: argparse.Namespace) -> list[str]:
    """Name the topics that are published to."""
    return [f"bench.{number}.orders" for number in range(chosen.topics)]


async def main() -> bool:
    """Measure what the options ask for, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(side, server, chosen)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    settings = {
        "mode": chosen.mode,
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "concurrency": chosen.concurrency,
        "topics": chosen.topics,
        "payload_bytes": chosen.payload,
        "messages": chosen.messages,
    }
    if chosen.mode == "batch":
        settings["ndjson"] = chosen.ndjson
    if chosen.mode == "burst":
        settings |= {"times": chosen.times, "connections": chosen.connections}
    result = report.result(
        "publish",
        settings=settings,
        sides=played,
        ratio_of="messages_per_second",
        larger_is_better=True,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
