"""One server process and two behind the same stores: whether a delivery costs more with two.

The same subscribers and messages, once at one process, once halved between two; what is published
goes to the first. Prints one JSON line; bench/README.md explains it.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench import command, report
from bench.crowd import FIRST, WARM_MESSAGES, Load, crowd
from bench.progress import steps
from bench.report import Figures, ratio
from bench.servers.contender import Server, Site
from bench.servers.ours import Ours
from bench.servers.plain import Baseline


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50, help="messages/s for ours")
    parser.add_argument("--baseline-rate", type=float, default=4, help="and for the baseline")
    parser.add_argument("--baseline-rounds", type=int, help="as many as ours without it")
    parser.add_argument("--seconds", type=float, default=6, help="length of a round")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.subscribers, chosen.seconds = 1, 200, 2.0
        chosen.baseline_rounds = 1
    chosen.baseline_rounds = chosen.baseline_rounds or chosen.rounds
    if chosen.subscribers <= 2 * FIRST:
        parser.error(f"--subscribers: more than {2 * FIRST}")
    return chosen


async def deliver(servers: Sequence[Server], load: Load) -> Figures:
    """Deliver the load to subscribers of these servers."""
    async with crowd(*servers) as group:
        made = await group.connect(load.subscribers)
        await group.settle()
        await group.deliver(load._replace(messages=WARM_MESSAGES))
        delivered = await group.deliver(load)
    return {**delivered, "complete": delivered["complete"] and made["complete"]}


async def measure(side: Ours | Baseline, load: Load) -> Figures:
    """Measure one process, then two, on a database of their own."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(side.copied())
        servers = [await stack.enter_async_context(side.served(url))]
        one = await deliver(servers, load)
        servers.append(await stack.enter_async_context(side.served(url)))
        two = await deliver(servers, load)
    growth = ratio(two["cpu_us_per_delivery"], one["cpu_us_per_delivery"])
    return {
        "complete": one["complete"] and two["complete"],
        "growth": growth,
        # With a core for each, the time that one delivery takes two processes is halved.
        "times_one": 2 / growth if growth else None,
        "cpu_us_with_one": one["cpu_us_per_delivery"],
        "cpu_us_with_two": two["cpu_us_per_delivery"],
        "p99_ms_with_one": one["p99_ms"],
        "p99_ms_with_two": two["p99_ms"],
        "kept_pace": one["kept_pace"] and two["kept_pace"],
    }


async def main() -> bool:
    """Measure both sides, print the result, tell whether it is complete."""
    chosen = options()
    site = Site(chosen.postgres, chosen.redis, command.run_name())
    ours = Ours(site, project=chosen.project.resolve(), token=chosen.token)
    both: list[Ours | Baseline] = [Baseline(site), ours]
    sides = [side for side in both if chosen.only in (None, side.name)]

    def load_of(side: str) -> Load:
        rate = chosen.rate if side == "ours" else chosen.baseline_rate
        return Load(chosen.subscribers, round(rate * chosen.seconds), rate, chosen.payload)

    played: dict[str, list[Figures]] = {side.name: [] for side in sides}
    async with AsyncExitStack() as stack:
        with steps(total=len(sides) * (chosen.rounds + 1)) as step:
            for side in sides:
                step(f"{side.name}: preparing")
                await stack.enter_async_context(side.prepared())
            for number in range(1, chosen.rounds + 1):
                for side in sides:
                    if side.name == "baseline" and number > chosen.baseline_rounds:
                        continue
                    step(f"{side.name}: round {number} of {chosen.rounds}")
                    played[side.name].append(await measure(side, load_of(side.name)))
    result = report.result(
        "scale",
        settings={
            "rounds": chosen.rounds,
            "baseline_rounds": chosen.baseline_rounds,
            "seconds": chosen.seconds,
            **{side.name: load_of(side.name)._asdict() for side in sides},
        },
        sides=played,
        ratio_of="growth",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
