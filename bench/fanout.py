"""One message to many subscribers: what a delivery costs the server, and how long it takes.

Prints one JSON line; bench/README.md explains it.
"""

import argparse
import asyncio
import sys
from typing import Any, Final, NamedTuple

from bench import command, report
from bench.machine.usage import cpu_seconds, resident_kib
from bench.report import Figures
from bench.servers.contender import Contender, Server
from bench.servers.worker import Worker, worker

_CONNECTS_AT_ONCE: Final = 50
_CONNECT_SECONDS: Final = 30.0
# Connected before memory and connects are measured: what a server loads or allocates with its
# first connections is not what one more costs.
_FIRST: Final = 20
_CALM_SECONDS: Final = 0.5
_WARM_MESSAGES: Final = 5
# Four times what the slowest server measured so far takes for a delivery; more is a hang.
_DELIVERY_SECONDS: Final = 0.001
# A paced server whose last delivery comes later than this fell behind: its latencies are those
# of a growing queue and say nothing.
_LATE_SECONDS: Final = 1.0


class Load(NamedTuple):
    """What one side is given. rate: messages a second; None: as fast as they are taken."""

    subscribers: int
    messages: int
    rate: float | None
    payload_bytes: int

    @property
    def within(self) -> float:
        """Seconds after which a run has failed."""
        paced = self.messages / self.rate if self.rate else 0
        return 20 + paced + self.messages * self.subscribers * _DELIVERY_SECONDS


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--mode", choices=("paced", "saturated"), default="paced")
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50, help="paced: messages/s for ours")
    parser.add_argument("--baseline-rate", type=float, default=4, help="and for the baseline")
    parser.add_argument("--seconds", type=float, default=10, help="paced: length of a round")
    parser.add_argument("--messages", type=int, default=500, help="saturated: for ours")
    parser.add_argument("--baseline-messages", type=int, default=50, help="and for the baseline")
    chosen = parser.parse_args(arguments)
    if chosen.subscribers <= _FIRST:
        parser.error(f"--subscribers: more than {_FIRST}")
    if chosen.quick:
        chosen.rounds, chosen.subscribers, chosen.seconds = 1, 200, 2.0
        chosen.messages, chosen.baseline_messages = 200, 50
    return chosen


def load_of(chosen: argparse.Namespace, side: str) -> Load:
    """Return what the options give to `ours` or to `baseline`."""
    ours = side == "ours"
    rate, messages = None, chosen.messages if ours else chosen.baseline_messages
    if chosen.mode == "paced":
        rate = chosen.rate if ours else chosen.baseline_rate
        messages = max(1, round(rate * chosen.seconds))
    return Load(chosen.subscribers, messages, rate, chosen.payload)


async def measure(server: Server, load: Load) -> Figures:
    """Connect the subscribers, publish, wait for the last delivery, and return the figures."""
    async with (
        worker("bench.load.subscribers") as subscribers,
        worker("bench.load.publisher") as publisher,
    ):
        connecting = await _connect(server, subscribers, load)
        await _fan_out(server, subscribers, publisher, load._replace(messages=_WARM_MESSAGES))
        pids = (server.pid, subscribers.pid, publisher.pid)
        before = [cpu_seconds(pid) for pid in pids]
        delivered = await _fan_out(server, subscribers, publisher, load)
        used = [cpu_seconds(pid) - old for pid, old in zip(pids, before, strict=True)]
        await subscribers.ask("close", within=5)
        received = delivered["received"]
        return {
            **delivered,
            "cpu_us_per_delivery": used[0] * 1e6 / received if received else None,
            "server_core_busy": used[0] / delivered["seconds"],
            "load_core_busy": (used[1] + used[2]) / delivered["seconds"],
            **connecting,
            "complete": delivered["complete"] and connecting["complete"],
        }


async def _connect(server: Server, subscribers: Worker, load: Load) -> dict[str, Any]:
    async def add(count: int) -> dict[str, Any]:
        return await subscribers.ask(
            "connect",
            within=_CONNECT_SECONDS * 4,
            target=server.target._asdict(),
            count=count,
            at_once=_CONNECTS_AT_ONCE,
            timeout=_CONNECT_SECONDS,
        )

    first = await add(_FIRST)
    await asyncio.sleep(_CALM_SECONDS)
    memory = resident_kib(server.pid)
    rest = await add(load.subscribers - _FIRST)
    # Sessions may be written by the batch; the delivery's figures begin after that.
    await asyncio.sleep(_CALM_SECONDS)
    memory = resident_kib(server.pid) - memory
    for answer in (first, rest):
        if answer["reason"]:
            print(f"a subscriber failed: {answer['reason']}", file=sys.stderr)
    connected = rest["connected"]
    return {
        "complete": first["connected"] + connected == load.subscribers,
        "connects_per_second": connected / rest["seconds"],
        "kib_per_connection": memory / connected if connected else None,
    }


async def _fan_out(
    server: Server, subscribers: Worker, publisher: Worker, load: Load
) -> dict[str, Any]:
    """Publish and settle; expected counts each message once per subscriber that was asked for."""
    sent = await publisher.ask(
        "fan_out",
        within=load.within + 5,
        timeout=load.within,
        sink=server.sink,
        messages=load.messages,
        rate=load.rate,
        payload_bytes=load.payload_bytes,
    )
    settled = await subscribers.ask(
        "settle",
        within=load.within + 5,
        timeout=load.within,
        messages=sent["messages"],
        stamp_sum=sent["stamp_sum"],
    )
    expected = load.messages * load.subscribers
    complete = settled["received"] == expected and not settled["wrong"]
    seconds = max((settled["last"] - sent["start"]) / 1e6, sent["seconds"])
    in_time = seconds < load.messages / load.rate + _LATE_SECONDS if load.rate else None
    return {
        "complete": complete,
        "expected": expected,
        "received": settled["received"],
        "wrong_subscribers": settled["wrong"],
        "lost_subscribers": settled["lost"],
        "failed_publishes": sum(sent["statuses"].values()),
        "statuses": sent["statuses"],
        "kept_pace": in_time and complete,
        "seconds": seconds,
        "deliveries_per_second": settled["received"] / seconds,
        "p50_ms": settled["p50_ms"],
        "p99_ms": settled["p99_ms"],
        "max_ms": settled["max_ms"],
    }


async def main() -> bool:
    """Measure both sides, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, load_of(chosen, side.name))

    sides = command.contenders(chosen)
    played = await command.play(sides, rounds=chosen.rounds, measure=measured)
    result = report.result(
        "fanout",
        settings={
            "mode": chosen.mode,
            "rounds": chosen.rounds,
            "seconds": chosen.seconds if chosen.mode == "paced" else None,
            **{side.name: load_of(chosen, side.name)._asdict() for side in sides},
        },
        sides=played,
        ratio_of="cpu_us_per_delivery",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
