"""Resident memory per connection that is authenticated and has one subscription.

Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from typing import Any

from bench import command, report
from bench.crowd import FIRST, crowd
from bench.report import Figures
from bench.servers.contender import Contender, Server

_CALM_SECONDS = 2.0


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.set_defaults(rounds=1)
    parser.add_argument("--connections", type=int, default=10_000, help="the last step")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.connections = 1, 1000
    if chosen.connections < 1000:
        parser.error("--connections: 1000 or more; the steps are a tenth of it and all")
    return chosen


async def measure(server: Server, connections: int) -> Figures:
    """Connect a tenth, then all; return the growth of memory over each."""
    figures: dict[str, Any] = {}
    async with crowd(server) as group:
        complete = (await group.connect(FIRST))["complete"]
        await group.settle(_CALM_SECONDS)
        before = group.memory_kib()
        for name, total in (("tenth", connections // 10), ("all", connections)):
            made = await group.connect(total)
            await group.settle(_CALM_SECONDS)
            complete = complete and made["complete"]
            grown, count = group.memory_kib() - before, group.count - FIRST
            known = server.pid and count > 0
            figures[f"kib_per_connection_{name}"] = grown / count if known else None
            figures[f"connects_per_second_{name}"] = made["connected"] / made["seconds"]
        figures["resident_mib"] = group.memory_kib() / 1024
    return {"complete": complete, **figures}


async def main() -> bool:
    """Measure all sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, chosen.connections)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "memory",
        settings={"rounds": chosen.rounds, "connections": chosen.connections},
        sides=played,
        ratio_of="kib_per_connection_all",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
