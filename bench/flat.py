"""Whether a delivery costs the same as it all grows: by connections, or by patterns in the index.

`--by connections`: 100, 1,000 and 10,000 subscribers of one topic. `--by patterns`: 1,000
subscribers, while other connections hold 10, 1,000 and 100,000 patterns that match none of it; ours
alone, since no other side has an index. Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from bench import command, report
from bench.crowd import CONNECTS_AT_ONCE, FIRST, Crowd, Load, crowd
from bench.report import Figures, ratio
from bench.servers.contender import Contender, Server
from bench.servers.worker import worker

_CALM_SECONDS: Final = 2.0
# What the protocol allows to one client (docs/protocol.md).
_PATTERNS_EACH: Final = 16
# Wildcards where the topic has a segment, so that the index has to look at them.
_PATTERN: Final = "bench.*.held-%d.**"
_SUBSCRIBE_SECONDS: Final = 0.005


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.set_defaults(rounds=1)
    parser.add_argument("--by", choices=("connections", "patterns"), default="connections")
    parser.add_argument("--steps", type=int, nargs="+", help="default: those above")
    parser.add_argument("--subscribers", type=int, default=1000, help="by patterns")
    parser.add_argument("--deliveries", type=int, default=50_000, help="a second, on each step")
    parser.add_argument("--baseline-deliveries", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=5, help="length of a step")
    chosen = parser.parse_args(arguments)
    by_patterns = chosen.by == "patterns"
    if chosen.quick:
        chosen.rounds, chosen.seconds, chosen.subscribers = 1, 2.0, 200
        chosen.steps = chosen.steps or ([10, 1000] if by_patterns else [100, 500])
        chosen.deliveries = 10_000
    chosen.steps = chosen.steps or ([10, 1000, 100_000] if by_patterns else [100, 1000, 10_000])
    if chosen.steps != sorted(set(chosen.steps)) or chosen.steps[0] < 1:
        parser.error("--steps: from few to many, each one once")
    if by_patterns:
        chosen.only, chosen.peer = "ours", []
    return chosen


def load_of(chosen: argparse.Namespace, side: str, subscribers: int) -> Load:
    """Return one step: as many deliveries a second whatever the number of subscribers."""
    wanted = chosen.baseline_deliveries if side == "baseline" else chosen.deliveries
    rate = wanted / subscribers
    # Three at least: at 10,000 the baseline takes seconds for each.
    return Load(subscribers, max(3, round(rate * chosen.seconds)), rate, chosen.payload)


def flatness(steps: Sequence[Figures], sizes: Sequence[int]) -> Figures:
    """Put the steps side by side: their costs, and the growth from the middle and the first."""
    costs = [step["cpu_us_per_delivery"] for step in steps]
    return {
        "complete": all(step["complete"] for step in steps),
        "growth": ratio(costs[-1], costs[-2]) if len(costs) > 1 else None,
        "growth_overall": ratio(costs[-1], costs[0]),
        **{f"cpu_us_at_{size}": cost for size, cost in zip(sizes, costs, strict=True)},
        **{f"p99_ms_at_{size}": step["p99_ms"] for size, step in zip(sizes, steps, strict=True)},
        "kept_pace": all(step["kept_pace"] for step in steps),
        "load_core_busy": max(step["load_core_busy"] for step in steps),
    }


async def by_connections(server: Server, side: str, chosen: argparse.Namespace) -> Figures:
    """Deliver to more and more."""
    async with crowd(server) as group:
        await group.connect(FIRST)
        await group.warm(chosen.payload)
        steps = []
        for size in chosen.steps:
            made = await group.connect(size)
            steps.append(await step(group, load_of(chosen, side, size), made["complete"]))
    return flatness(steps, chosen.steps)


async def by_patterns(server: Server, chosen: argparse.Namespace) -> Figures:
    """Deliver to as many, while more and more patterns are held by others.

    All holders are connected from the beginning, so that nothing but the patterns grows.
    """
    most = chosen.steps[-1]
    holders = -(-most // _PATTERNS_EACH)
    steps = []
    async with crowd(server) as group, worker("bench.load.subscribers") as held:
        target = server.target._replace(run=f"{server.target.run}-held", topic="bench.holder")
        made = await held.ask(
            "connect",
            within=60 + holders * 0.02,
            target=target._asdict(),
            count=holders,
            at_once=CONNECTS_AT_ONCE,
            timeout=30,
        )
        complete = made["connected"] == holders
        complete = (await group.connect(chosen.subscribers))["complete"] and complete
        await group.warm(chosen.payload)
        there = 0
        for size in chosen.steps:
            # Each step begins at a holder of its own; the last one fills what is left of the
            # holders, and so may hold a few patterns less than its name says.
            first = -(-there // _PATTERNS_EACH) * _PATTERNS_EACH
            wanted = min(size - there, holders * _PATTERNS_EACH - first)
            answer = await held.ask(
                "subscribe",
                within=60 + wanted * _SUBSCRIBE_SECONDS,
                timeout=50 + wanted * _SUBSCRIBE_SECONDS,
                first=first,
                total=wanted,
                each=_PATTERNS_EACH,
                pattern=_PATTERN,
            )
            there = first + wanted
            complete = complete and answer["subscribed"] == wanted
            load = load_of(chosen, "ours", chosen.subscribers)
            steps.append(await step(group, load, complete))
    return flatness(steps, chosen.steps)


async def step(group: Crowd, load: Load, complete: bool) -> dict[str, Any]:
    """Deliver one step's load to the subscribers that are there."""
    await group.settle(_CALM_SECONDS)
    await group.warm(load.payload_bytes, 1)
    delivered = await group.deliver(load)
    return {**delivered, "complete": delivered["complete"] and complete}


async def main() -> bool:
    """Measure all sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        if chosen.by == "patterns":
            return await by_patterns(server, chosen)
        return await by_connections(server, side.name, chosen)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    names = ("by", "steps", "rounds", "seconds", "deliveries", "baseline_deliveries")
    result = report.result(
        "flat",
        settings={name: getattr(chosen, name) for name in names},
        sides=played,
        ratio_of="growth",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
