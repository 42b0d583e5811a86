"""10,000 connections, once: memory, flatness, one message to all, idling.

What bench.memory, bench.flat, bench.fanout --mode one and bench.idle measure, on the same
connections, because to open them is what takes long. Prints one JSON line for each of the four;
bench/README.md explains them.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from bench import command, report
from bench.crowd import FIRST, Crowd, Load, crowd
from bench.fanout import single
from bench.flat import flatness, step
from bench.idle import beat
from bench.report import Figures
from bench.servers.contender import Contender, Server

_CALM_SECONDS: Final = 2.0
# benchmark, the figure to compare; all are better when smaller.
_LINES: Final = (
    ("memory", "kib_per_connection_all"),
    ("flat", "growth"),
    ("fanout", "last_ms"),
    ("idle", "server_core_busy"),
)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.set_defaults(rounds=1)
    parser.add_argument("--steps", type=int, nargs=3, default=[100, 1000, 10_000])
    parser.add_argument("--deliveries", type=int, default=50_000, help="a second, on each step")
    parser.add_argument("--baseline-deliveries", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=5, help="length of a step")
    parser.add_argument("--messages", type=int, default=10, help="single ones to all")
    parser.add_argument("--baseline-messages", type=int, default=3)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--interval", type=float, default=30, help="seconds between heartbeats")
    parser.add_argument("--idle-peers", action="store_true", help="let peers idle as well")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.steps, chosen.deliveries = 1, [50, 100, 500], 10_000
        chosen.seconds, chosen.messages, chosen.idle_seconds = 1.0, 3, 3.0
    if not FIRST < chosen.steps[0] < chosen.steps[1] < chosen.steps[2]:
        parser.error(f"--steps: three, from few to many, the first one above {FIRST}")
    return chosen


async def measure(server: Server, side: str, chosen: argparse.Namespace) -> Mapping[str, Figures]:
    """Grow the crowd by its steps, then try it; return the figures of each benchmark."""
    async with crowd(server) as group:
        memory, steps = await _grown(group, side, chosen)
        few = side == "baseline"
        messages = chosen.baseline_messages if few else chosen.messages
        one = await single(group, Load(group.count, messages, None, chosen.payload))
        figures: dict[str, Figures] = {
            "memory": memory,
            "flat": flatness(steps, chosen.steps),
            "fanout": {**one, "complete": one["complete"] and memory["complete"]},
        }
        if chosen.idle_peers or side in ("ours", "baseline"):
            figures["idle"] = await beat(
                group, interval=chosen.interval, seconds=chosen.idle_seconds
            )
    return figures


async def _grown(
    group: Crowd, side: str, chosen: argparse.Namespace
) -> tuple[dict[str, Any], list[Figures]]:
    """Connect step by step; after each, look at the memory and deliver."""
    complete = (await group.connect(FIRST))["complete"]
    await group.settle(_CALM_SECONDS)
    before = group.memory_kib()
    memory: dict[str, Any] = {}
    steps: list[Figures] = []
    wanted = chosen.baseline_deliveries if side == "baseline" else chosen.deliveries
    for name, size in zip((None, "tenth", "all"), chosen.steps, strict=True):
        made = await group.connect(size)
        complete = complete and made["complete"]
        await group.settle(_CALM_SECONDS)
        if name:
            grown, number = group.memory_kib() - before, group.count - FIRST
            memory[f"kib_per_connection_{name}"] = grown / number if number > 0 else None
            memory[f"connects_per_second_{name}"] = made["connected"] / made["seconds"]
        rate = wanted / size
        load = Load(size, max(3, round(rate * chosen.seconds)), rate, chosen.payload)
        steps.append(await step(group, load, made["complete"]))
    memory["resident_mib"] = group.memory_kib() / 1024
    return {"complete": complete, **memory}, steps


async def main() -> bool:
    """Measure all sides, print the results, tell whether they are complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        figures = await measure(server, side.name, chosen)
        return {"complete": all(each["complete"] for each in figures.values()), **figures}

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    complete = True
    for benchmark, ratio_of in _LINES:
        rounds = {
            side: [each.get(benchmark, each) for each in those]
            for side, those in played.items()
            if all(benchmark in each or "failed" in each for each in those)
        }
        settings = {name: getattr(chosen, name) for name in ("steps", "rounds", "seconds")}
        result = report.result(
            benchmark,
            settings={
                **settings,
                "by": "connections",
                "mode": "one",
                "connections": chosen.steps[-1],
                "deliveries": chosen.deliveries,
                "baseline_deliveries": chosen.baseline_deliveries,
                "idle_seconds": chosen.idle_seconds,
                "interval": chosen.interval,
            },
            sides=rounds,
            ratio_of=ratio_of,
            larger_is_better=False,
        )
        report.emit(result)
        complete = complete and bool(result["complete"])
    return complete


if __name__ == "__main__":
    sys.exit(command.run(main))
