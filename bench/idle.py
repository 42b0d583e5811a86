"""10,000 connections that only prove that they live: the share of a core that this costs.

Each client sends its heartbeat every 30 s, ours as a `ping` frame, where a server knows no such
frame as a PING of the WebSocket. Prints one JSON line; bench/README.md explains it.
"""

import argparse
import asyncio
import sys
import time
from typing import Any

from bench import command, report
from bench.crowd import Crowd, crowd
from bench.report import Figures
from bench.servers.contender import Contender, Server

_CALM_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
_PARTS = 3


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.set_defaults(rounds=1)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=30, help="seconds between heartbeats")
    parser.add_argument("--seconds", type=float, default=60, help="length of a round")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.connections, chosen.seconds = 1, 500, 5.0
    return chosen


async def measure(server: Server, chosen: argparse.Namespace) -> Figures:
    """Connect all, let them beat, and return the figures."""
    async with crowd(server) as group:
        made = await group.connect(chosen.connections)
        figures = await beat(group, interval=chosen.interval, seconds=chosen.seconds)
    return {
        **figures,
        "complete": made["complete"] and figures["complete"],
        "connects_per_second": made["connected"] / made["seconds"],
    }


async def beat(group: Crowd, *, interval: float, seconds: float) -> dict[str, Any]:
    """Let the subscribers of one server send their heartbeats; return the figures."""
    await group.settle(_CALM_SECONDS)
    before = group.cpu()
    parts = asyncio.create_task(_parts(group, seconds / _PARTS))
    [beaten] = await group.each(
        "idle",
        within=seconds + _ANSWER_SECONDS + 5,
        interval=interval,
        seconds=seconds,
        timeout=_ANSWER_SECONDS,
    )
    cpu, sent = group.cpu() - before, beaten["sent"]
    busy = await parts
    return {
        "complete": beaten["answers"] >= sent and not beaten["lost"],
        "heartbeats": sent,
        "answers": beaten["answers"],
        "lost_subscribers": beaten["lost"],
        "server_core_busy": cpu / beaten["seconds"] if cpu else None,
        "server_core_busy_least": min(busy) if cpu else None,
        "server_core_busy_most": max(busy) if cpu else None,
        "cpu_us_per_heartbeat": cpu * 1e6 / sent if sent and cpu else None,
    }


async def _parts(group: Crowd, seconds: float) -> list[float]:
    """Return the share of a core in each third of the time: they tell how sure the whole is."""
    busy = []
    for _ in range(_PARTS):
        cpu, start = group.cpu(), time.monotonic()
        await asyncio.sleep(seconds)
        busy.append((group.cpu() - cpu) / (time.monotonic() - start))
    return busy


async def main() -> bool:
    """Measure all sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, chosen)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    names = ("rounds", "connections", "interval", "seconds")
    result = report.result(
        "idle",
        settings={name: getattr(chosen, name) for name in names},
        sides=played,
        ratio_of="server_core_busy",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
