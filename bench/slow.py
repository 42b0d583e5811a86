"""What slow readers cost the others: readers that keep up, alone and beside some that do not.

Ours alone: the plain way has no bound that could be looked at. Each slow reader has a topic of its
own, so that nothing of what waits for it is shared; they are ephemeral ones that nothing may be
dropped of, so that the log's writer is not what is measured. The same messages go to those topics
while nobody reads them, so that the quotient is the slow readers' alone. Prints one JSON line;
bench/README.md explains it.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, Final

from bench import command, report
from bench.crowd import CONNECTS_AT_ONCE, Crowd, Load, crowd
from bench.machine.queues import queues
from bench.machine.usage import resident_kib
from bench.report import Figures
from bench.servers.contender import Contender, Server, Site
from bench.servers.ours import Ours
from bench.servers.worker import Worker, worker

_OPEN_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 30.0
_BACK_SECONDS: Final = 15.0
_WATCH_SECONDS: Final = 0.05
_POLICY: Final = ("bench.slow.*", "--ephemeral", "--overflow", "disconnect")
_FILLS: Final = 4
_FILL_BATCH: Final = 10
_FILL_BYTES: Final = 8_192
_FILL_CONNECTIONS: Final = 64
# What the server's kernel takes for a peer that does not read, and some more.
_KERNEL_BYTES: Final = 98_304
# What a connection may hold besides its buffer: one write, and what uvloop takes before it says
# that it is full. Then what comes and goes whoever reads: requests, the log's writer, replays.
_WRITTEN_KIB: Final = 256 + 64
_SHARED_KIB: Final = (64 + 32) * 1024


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.set_defaults(rounds=1)
    parser.add_argument("--subscribers", type=int, default=950, help="that keep up")
    parser.add_argument("--slow", type=int, default=50, help="that read --sip bytes a second")
    parser.add_argument("--sip", type=int, default=1024)
    parser.add_argument("--deaf", type=int, default=200, help="that never read; half are reset")
    parser.add_argument("--rate", type=float, default=50, help="messages/s to those that keep up")
    parser.add_argument("--seconds", type=float, default=6, help="of each part of a pair")
    parser.add_argument("--pairs", type=int, default=2, help="of alone and beside, in turn")
    parser.add_argument("--buffer", type=int, default=131_072, help="bound of each connection")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.pairs, chosen.seconds = 1, 1, 3.0
        chosen.subscribers, chosen.slow, chosen.deaf = 100, 5, 20
    return chosen


async def measure(side: Ours, server: Server, chosen: argparse.Namespace) -> Figures:
    """Measure the pairs on one server; return the figures."""
    async with (
        crowd(server) as group,
        worker("bench.load.slow") as readers,
        worker("bench.load.publisher") as filler,
    ):
        made = await group.connect(chosen.subscribers)
        await group.settle()
        await group.warm(chosen.payload)
        run = _Run(side, server, chosen, group, readers, filler)
        await run.part(beside=False)  # pages of code, the pool, the replay cache: not measured
        pairs = []
        for _ in range(chosen.pairs):
            alone = await run.part(beside=False)
            pairs.append((alone, await run.part(beside=True)))
    alone_p99, beside_p99 = (
        statistics.median(pair[number]["p99_ms"] or 0 for pair in pairs) for number in (0, 1)
    )
    slow = [beside for _, beside in pairs]
    return {
        "complete": made["complete"] and all(part["complete"] for pair in pairs for part in pair),
        "alone_p99_ms": alone_p99,
        "beside_p99_ms": beside_p99,
        "p99_times": beside_p99 / alone_p99 if alone_p99 else None,
        "p99_times_most": max(two["p99_ms"] / one["p99_ms"] for one, two in pairs),
        "alone_p50_ms": statistics.median(one["p50_ms"] for one, _ in pairs),
        "beside_p50_ms": statistics.median(two["p50_ms"] for _, two in pairs),
        "kept_pace": all(part["kept_pace"] for pair in pairs for part in pair),
        "reset_while_blocked": min(part["blocked"] for part in slow),
        "closed_slow": min(part["closed_slow"] for part in slow),
        "peak_rss_growth_kib": max(part["rss_growth_kib"] for part in slow),
        "bound_kib": (chosen.slow + chosen.deaf) * (chosen.buffer / 1024 + _WRITTEN_KIB)
        + _SHARED_KIB,
        "back_seconds": max(part["back_seconds"] or _BACK_SECONDS for part in slow),
        "parts": [part for pair in pairs for part in pair],
    }


class _Run:
    def __init__(
        self,
        side: Ours,
        server: Server,
        chosen: argparse.Namespace,
        group: Crowd,
        readers: Worker,
        filler: Worker,
    ) -> None:
        self._token = side.metrics_token
        self._server = server
        self._chosen = chosen
        self._group = group
        self._readers = readers
        self._filler = filler
        self._parts = 0

    async def part(self, *, beside: bool) -> dict[str, Any]:
        """Deliver to those that keep up while the slow ones' topics are filled."""
        chosen, self._parts = self._chosen, self._parts + 1
        before, reset = await self._held(), chosen.deaf // 2
        if beside:
            await self._open_slow(reset)
        load = Load(
            chosen.subscribers, round(chosen.rate * chosen.seconds), chosen.rate, chosen.payload
        )
        async with self._watched() as peak:
            filling = asyncio.create_task(self._fill())
            delivered = await self._group.deliver(load)
            filled = await filling
            # Under load the server refuses some: what lacks follows, and is not measured.
            for _ in range(_FILLS if beside else 0):
                if (await self._held())["closed"] - before["closed"] >= chosen.deaf - reset:
                    break
                await self._fill()
        found: dict[str, Any] = {name: delivered[name] for name in _OF_PART}
        found["filled"] = filled["statuses"]
        if beside:
            left = await self._readers.ask("leave", within=_ANSWER_SECONDS)
            after, back = await self._back_to(before)
            found |= {
                "blocked": left["blocked"],
                "closed_slow": int(after["closed"] - before["closed"]),
                "rss_growth_kib": peak[0] - before["resident_kib"],
                "back_seconds": back,
            }
            found["complete"] = (
                found["complete"]
                and left["blocked"] == reset
                and found["closed_slow"] >= chosen.deaf - reset
                and back is not None
            )
        return found

    async def _open_slow(self, reset: int) -> None:
        chosen, target = self._chosen, self._server.target
        await self._readers.ask(
            "open",
            within=_OPEN_SECONDS + 5,
            timeout=_OPEN_SECONDS,
            port=self._server.endpoint.port,
            token=target.token,
            run=f"bench-{target.run}-slow-{self._parts}",
            topics=_topics(chosen),
            at_once=CONNECTS_AT_ONCE,
            sipping=chosen.slow,
            sip=chosen.sip,
            reset=reset,
        )
        await self._group.settle()

    async def _fill(self) -> dict[str, Any]:
        """Publish to each slow reader's topic what its buffer and the kernel's take, and more."""
        chosen, endpoint = self._chosen, self._server.endpoint
        each = 1.25 * chosen.buffer + _KERNEL_BYTES
        messages = len(_topics(chosen)) * each / _FILL_BYTES
        return await self._filler.ask(
            "burst",
            within=chosen.seconds + _ANSWER_SECONDS + 5,
            timeout=_ANSWER_SECONDS,
            endpoint=endpoint._replace(path=f"{endpoint.path}/batch")._asdict(),
            rate=messages / _FILL_BATCH / chosen.seconds,
            seconds=chosen.seconds,
            messages=_FILL_BATCH,
            connections=_FILL_CONNECTIONS,
            payload_bytes=_FILL_BYTES,
            topics=_topics(chosen),
        )

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[list[float]]:
        peak = [0.0]

        async def watch() -> None:
            while True:
                peak[0] = max(peak[0], resident_kib(self._server.pid))
                await asyncio.sleep(_WATCH_SECONDS)

        watching = asyncio.create_task(watch())
        try:
            yield peak
        finally:
            watching.cancel()

    async def _held(self) -> dict[str, float]:
        return await asyncio.to_thread(held, self._server, self._token)

    async def _back_to(self, base: dict[str, float]) -> tuple[dict[str, float], float | None]:
        """Wait until tasks, connections and sockets are as few as before; None: they are not."""
        start = time.monotonic()
        while True:
            now, passed = await self._held(), time.monotonic() - start
            if all(now[name] <= base[name] for name in ("tasks", "connections", "sockets")):
                return now, passed
            if passed > _BACK_SECONDS:
                return now, None
            await asyncio.sleep(_WATCH_SECONDS)


_OF_PART: Final = (
    "complete",
    "p50_ms",
    "p99_ms",
    "kept_pace",
    "server_core_busy",
    "load_core_busy",
)


def held(server: Server, token: str) -> dict[str, float]:
    """Return what a server holds: tasks, connections, sockets at its port, memory; and the count of
    connections that it closed as too slow. Blocks.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.endpoint.port}/metrics",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    known = {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines)
        if name[:1] != "#"
    }
    mine = queues(port=server.endpoint.port)
    return {
        "tasks": known["bellwether_tasks"],
        "connections": known["bellwether_connections"],
        "sockets": len(mine),
        "resident_kib": resident_kib(server.pid),
        "closed": known.get('bellwether_connections_closed_total{code="4409"}', 0),
    }


def _topics(chosen: argparse.Namespace) -> list[str]:
    return [f"bench.slow.r{number}" for number in range(chosen.slow + chosen.deaf)]


async def main() -> bool:
    """Measure, print the result, tell whether it is complete."""
    chosen = options()
    side = Ours(
        Site(chosen.postgres, chosen.redis, command.run_name()),
        project=chosen.project.resolve(),
        token=chosen.token,
        settings={"NOTIFICATIONS_BUFFER_BYTES": str(chosen.buffer)},
        policies=[_POLICY],
    )

    async def measured(side: Contender, server: Server) -> Figures:
        assert isinstance(side, Ours)
        return await measure(side, server, chosen)

    played = await command.play([side], rounds=chosen.rounds, measure=measured)
    names = ("subscribers", "slow", "sip", "deaf", "rate", "seconds", "pairs", "buffer", "payload")
    result = report.result(
        "slow",
        settings={name: getattr(chosen, name) for name in names},
        sides=played,
        ratio_of="p99_times",
        larger_is_better=False,
    )
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
