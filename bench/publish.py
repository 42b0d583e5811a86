"""Single durable publishes over REST: how many a second one server process takes.

Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from typing import Any, Final

from bench import command, report
from bench.machine.usage import cpu_seconds
from bench.report import Figures
from bench.servers.contender import Contender, Server
from bench.servers.worker import Worker, worker

_WARM_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 15.0


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--concurrency", type=int, default=32, help="connections, a request each")
    parser.add_argument("--seconds", type=float, default=5, help="length of a round")
    parser.add_argument("--topics", type=int, default=100, help="that the publishes go to in turn")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 2.0
    return chosen


async def measure(server: Server, chosen: argparse.Namespace) -> Figures:
    """Post for the chosen time and return the figures."""
    async with worker("bench.load.publisher") as publisher:
        await _post(server, publisher, chosen, seconds=_WARM_SECONDS)
        before, load_before = cpu_seconds(server.pid), cpu_seconds(publisher.pid)
        posted = await _post(server, publisher, chosen, seconds=chosen.seconds)
        cpu = cpu_seconds(server.pid) - before
        load_cpu = cpu_seconds(publisher.pid) - load_before
    requests = posted["requests"]
    return {
        "complete": requests > 0 and not posted["statuses"],
        "requests": requests,
        "requests_per_second": requests / posted["seconds"],
        "cpu_us_per_publish": cpu * 1e6 / requests if requests else None,
        "server_core_busy": cpu / posted["seconds"],
        "load_core_busy": load_cpu / posted["seconds"],
        "p50_ms": posted["p50_ms"],
        "p99_ms": posted["p99_ms"],
        "max_ms": posted["max_ms"],
        "not_2xx": sum(posted["statuses"].values()),
        "statuses": posted["statuses"],
    }


async def _post(
    server: Server, publisher: Worker, chosen: argparse.Namespace, *, seconds: float
) -> dict[str, Any]:
    return await publisher.ask(
        "post",
        within=seconds + _ANSWER_SECONDS + 5,
        timeout=_ANSWER_SECONDS,
        endpoint=server.endpoint._asdict(),
        concurrency=chosen.concurrency,
        seconds=seconds,
        payload_bytes=chosen.payload,
        topics=[f"bench.{number}.orders" for number in range(chosen.topics)],
    )


async def main() -> bool:
    """Measure both sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, chosen)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "publish",
        settings={
            "rounds": chosen.rounds,
            "seconds": chosen.seconds,
            "concurrency": chosen.concurrency,
            "topics": chosen.topics,
            "payload_bytes": chosen.payload,
        },
        sides=played,
        ratio_of="requests_per_second",
        larger_is_better=True,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
