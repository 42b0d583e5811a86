"""From a publish over REST to its delivery, every message committed: p50 and p99.

Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys

from bench import command, report
from bench.crowd import Load, crowd
from bench.report import Figures
from bench.servers.contender import Contender, Server

_PUBLISHES_AT_ONCE = 32
_WARM_MESSAGES = 200


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--subscribers", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1000, help="messages/s for ours")
    parser.add_argument("--baseline-rate", type=float, default=100, help="and for the baseline")
    parser.add_argument("--seconds", type=float, default=10, help="length of a round")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 2.0
    return chosen


async def measure(server: Server, load: Load) -> Figures:
    """Publish at the pace and return the figures."""
    # Both over REST and through their database; the baseline's layer alone stores nothing.
    sink = {
        "kind": "rest",
        "endpoint": server.endpoint._asdict(),
        "topic": server.target.topic,
        "at_once": _PUBLISHES_AT_ONCE,
    }
    async with crowd(server._replace(sink=sink)) as group:
        made = await group.connect(load.subscribers)
        await group.settle()
        await group.deliver(load._replace(messages=_WARM_MESSAGES))
        delivered = await group.deliver(load)
    return {**delivered, "complete": delivered["complete"] and made["complete"]}


async def main() -> bool:
    """Measure both sides, print the result, tell whether it is complete."""
    chosen = options()

    def load_of(side: str) -> Load:
        rate = chosen.rate if side == "ours" else chosen.baseline_rate
        return Load(chosen.subscribers, round(rate * chosen.seconds), rate, chosen.payload)

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, load_of(side.name))

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "latency",
        settings={
            "rounds": chosen.rounds,
            "seconds": chosen.seconds,
            **{side.name: load_of(side.name)._asdict() for side in sides},
        },
        sides=played,
        ratio_of="p99_ms",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
