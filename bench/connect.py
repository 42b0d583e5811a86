"""Connects a second, with authentication and a subscription; then all drop, and all resume.

Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from typing import Any

from bench import command, report
from bench.crowd import FIRST, Crowd, crowd
from bench.report import Figures
from bench.servers.contender import Contender, Server

_GONE_SECONDS = 2.0


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--users", type=int, default=0, help="with a token each; 0: one API key")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.clients = 1, 200
    if chosen.clients <= FIRST:
        parser.error(f"--clients: more than {FIRST}")
    return chosen


async def measure(server: Server, clients: int) -> Figures:
    """Connect all, drop all, have all come back; return the figures."""
    async with crowd(server) as group:
        first = await group.connect(FIRST)
        await group.settle()
        came = await _timed(group, clients, "connect")
        await group.settle()
        await group.leave()
        # The server sees them gone, and writes it down, before the first is back.
        await group.settle(_GONE_SECONDS)
        back = await _timed(group, clients, "come_back")
    return {
        "complete": first["complete"] and came.pop("complete") and back.pop("complete"),
        **came,
        **{f"resume_{name}": value for name, value in back.items()},
    }


async def _timed(group: Crowd, clients: int, do: str) -> dict[str, Any]:
    made = await group.connect(clients, do=do)
    connected, cpu = made["connected"], made["cpu_seconds"]
    return {
        "complete": made["complete"],
        "connects_per_second": connected / made["seconds"],
        "cpu_ms_per_client": cpu * 1e3 / connected if connected and cpu else None,
        "server_core_busy": cpu / made["seconds"] if cpu else None,
    }


async def main() -> bool:
    """Measure all sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, chosen.clients)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "connect",
        settings={"rounds": chosen.rounds, "clients": chosen.clients, "users": chosen.users},
        sides=played,
        ratio_of="connects_per_second",
        larger_is_better=True,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
