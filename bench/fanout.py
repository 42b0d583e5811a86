"""One message to many subscribers: what a delivery costs the server, and how long it takes.

Modes: `paced`, so many messages a second; `saturated`, as fast as they are taken; `one`, single
messages to 10,000, each after the one before has reached everyone. Prints one JSON line;
bench/README.md explains it.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any, Final

from bench import command, report
from bench.crowd import CALM_SECONDS, FIRST, WARM_MESSAGES, Crowd, Load, crowd
from bench.report import Figures
from bench.servers.contender import Contender, Server

_ADDED: Final = ("expected", "received", "failed_publishes", "wrong_subscribers", "seconds")


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    command.add_peers(parser)
    parser.add_argument("--mode", choices=("paced", "saturated", "one"), default="paced")
    parser.add_argument("--subscribers", type=int, help="default: 1000, or 10000 with --mode one")
    parser.add_argument("--rate", type=float, default=50, help="paced: messages/s for ours")
    parser.add_argument("--baseline-rate", type=float, default=4, help="and for the baseline")
    parser.add_argument("--seconds", type=float, default=10, help="paced: length of a round")
    parser.add_argument(
        "--batch", type=int, default=1, help="saturated: messages that ours gets in a request"
    )
    parser.add_argument("--messages", type=int, help="for ours; default: 500, or 10 with one")
    parser.add_argument("--baseline-messages", type=int, help="for the baseline; 50, or 3 with one")
    chosen = parser.parse_args(arguments)
    one = chosen.mode == "one"
    if chosen.quick:
        chosen.rounds, chosen.seconds = 1, 2.0
        chosen.subscribers = chosen.subscribers or (1000 if one else 200)
        chosen.messages = chosen.messages or (3 if one else 200)
    chosen.subscribers = chosen.subscribers or (10_000 if one else 1000)
    chosen.messages = chosen.messages or (10 if one else 500)
    chosen.baseline_messages = chosen.baseline_messages or (3 if one else 50)
    if chosen.subscribers <= FIRST:
        parser.error(f"--subscribers: more than {FIRST}")
    return chosen


def load_of(chosen: argparse.Namespace, side: str) -> Load:
    """Return what the options give to a side: the baseline has its own figures."""
    baseline = side == "baseline"
    rate, messages = None, chosen.baseline_messages if baseline else chosen.messages
    if chosen.mode == "paced":
        rate = chosen.baseline_rate if baseline else chosen.rate
        messages = max(1, round(rate * chosen.seconds))
    return Load(chosen.subscribers, messages, rate, chosen.payload)


async def measure(server: Server, load: Load, *, mode: str) -> Figures:
    """Connect the subscribers, publish, wait for the last delivery, and return the figures."""
    async with crowd(server) as group:
        first = await group.connect(FIRST)
        await group.settle()
        memory = group.memory_kib()
        rest = await group.connect(load.subscribers)
        await group.settle()
        memory = group.memory_kib() - memory
        connected = rest["connected"]
        if mode == "one":
            delivered = await single(group, load)
        else:
            await group.deliver(load._replace(messages=WARM_MESSAGES))
            await asyncio.sleep(CALM_SECONDS)
            delivered = await group.deliver(load)
        return {
            **delivered,
            "connects_per_second": connected / rest["seconds"],
            "kib_per_connection": memory / connected if connected and server.pid else None,
            "complete": delivered["complete"] and first["complete"] and rest["complete"],
        }


async def single(group: Crowd, load: Load) -> dict[str, Any]:
    """Deliver the messages one by one; each waits until the one before has reached everyone."""
    await group.warm(load.payload_bytes, 1)
    return joined([await group.deliver(load._replace(messages=1)) for _ in range(load.messages)])


def joined(each: Sequence[Figures]) -> dict[str, Any]:
    """Put single messages together: counts and seconds added, the others their medians."""
    figures = report.medians(each)
    del figures["rounds"]
    return figures | {name: sum(one[name] for one in each) for name in _ADDED}


async def main() -> bool:
    """Measure all sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        if side.name == "ours" and chosen.mode == "saturated" and chosen.batch > 1:
            sink = {name: server.sink[name] for name in ("endpoint", "topic")}
            server = server._replace(sink={"kind": "batch", "batch": chosen.batch, **sink})
        return await measure(server, load_of(chosen, side.name), mode=chosen.mode)

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "fanout",
        settings={
            "mode": chosen.mode,
            "rounds": chosen.rounds,
            "seconds": chosen.seconds if chosen.mode == "paced" else None,
            "batch": chosen.batch if chosen.mode == "saturated" else None,
            **{side.name: load_of(chosen, side.name)._asdict() for side in sides},
        },
        sides=played,
        ratio_of="last_ms" if chosen.mode == "one" else "cpu_us_per_delivery",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
