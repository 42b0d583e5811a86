"""Subscribers of one server, and what it costs to reach them: what several benchmarks measure."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, NamedTuple

from bench.machine.usage import cpu_seconds, resident_kib
from bench.servers.contender import Server
from bench.servers.worker import Worker, worker

CONNECTS_AT_ONCE: Final = 50
CONNECT_SECONDS: Final = 30.0
# Connected before memory and connects are measured: what a server loads or allocates with its
# first connections is not what one more costs.
FIRST: Final = 20
CALM_SECONDS: Final = 0.5
WARM_MESSAGES: Final = 5
# The slowest server so far takes 300 µs at 10,000 connections; longer is a hang.
_DELIVERY_SECONDS: Final = 0.001
_CONNECTION_SECONDS: Final = 0.02
# A paced server whose last delivery comes later than this fell behind: its latencies are those
# of a growing queue and say nothing.
_LATE_SECONDS: Final = 1.0

_crowds = count()


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


class Crowd:
    """The subscribers of one or more servers, a worker for each, and one publisher.

    servers: equals behind the same stores; the first one is published to.
    """

    def __init__(self, servers: list[Server], subscribers: list[Worker], publisher: Worker) -> None:
        self.servers = servers
        self.count = 0
        self._subscribers = subscribers
        self._publisher = publisher

    def cpu(self) -> float:
        """Return the CPU seconds of the servers so far; 0 where no process is known."""
        return sum(cpu_seconds(server.pid) for server in self.servers if server.pid)

    def memory_kib(self) -> float:
        """Return the resident memory of the servers."""
        return sum(resident_kib(server.pid) for server in self.servers if server.pid)

    def _load_cpu(self) -> float:
        return sum(cpu_seconds(each.pid) for each in (*self._subscribers, self._publisher))

    async def each(self, do: str, *, within: float, **values: Any) -> list[dict[str, Any]]:
        """Ask the workers of all servers the same at once."""
        return await asyncio.gather(
            *(
                each.ask(do, within=within, target=server.target._asdict(), **values)
                for each, server in zip(self._subscribers, self.servers, strict=True)
            )
        )

    async def connect(self, total: int, *, do: str = "connect") -> dict[str, Any]:
        """Add subscribers until there are `total`, evenly over the servers.

        Returns complete, connected, seconds and CPU seconds. do: or `come_back`.
        """
        before, wanted = self.cpu(), total - self.count
        answers = await self.each(
            do,
            within=CONNECT_SECONDS + total * _CONNECTION_SECONDS,
            count=wanted // len(self.servers),  # come_back takes no count
            at_once=CONNECTS_AT_ONCE,
            timeout=CONNECT_SECONDS,
        )
        for answer in answers:
            if answer["reason"]:
                print(f"a subscriber failed: {answer['reason']}", file=sys.stderr)
        connected = sum(answer["connected"] for answer in answers)
        used = self.cpu() - before
        self.count += connected
        return {
            "complete": connected == wanted,
            "connected": connected,
            "seconds": max(answer["seconds"] for answer in answers),
            "cpu_seconds": used,
        }

    async def leave(self) -> None:
        """Drop all connections."""
        await self.each("leave", within=30)
        self.count = 0

    async def settle(self, seconds: float = CALM_SECONDS) -> None:
        """Wait for what a server does after its connections: sessions may be written later."""
        await asyncio.sleep(seconds)

    async def deliver(self, load: Load) -> dict[str, Any]:
        """Publish, wait for the last delivery, and return the figures.

        `expected` counts each message once per subscriber that is connected.
        """
        before, load_before = self.cpu(), self._load_cpu()
        sink = self.servers[0].sink
        sent = await self._publisher.ask(
            "fan_out",
            within=load.within + 5,
            timeout=load.within,
            sink=sink,
            messages=load.messages,
            rate=load.rate,
            payload_bytes=load.payload_bytes,
        )
        settled = await self.each(
            "settle",
            within=load.within + 5,
            timeout=load.within,
            messages=sent["messages"],
            stamp_sum=sent["stamp_sum"],
        )
        used, load_used = self.cpu() - before, self._load_cpu() - load_before
        expected = load.messages * load.subscribers
        received = sum(each["received"] for each in settled)
        wrong = sum(each["wrong"] for each in settled)
        complete = received == expected and not wrong
        last = max(each["last"] for each in settled)
        seconds = max((last - sent["start"]) / 1e6, sent["seconds"])
        in_time = seconds < load.messages / load.rate + _LATE_SECONDS if load.rate else None
        return {
            "complete": complete,
            "expected": expected,
            "received": received,
            "wrong_subscribers": wrong,
            "lost_subscribers": sum(each["lost"] for each in settled),
            "failed_publishes": sum(sent["statuses"].values()),
            "statuses": sent["statuses"],
            "kept_pace": in_time and complete,
            "seconds": seconds,
            "last_ms": (last - sent["start"]) / 1e3 if received else None,
            "deliveries_per_second": received / seconds,
            "p50_ms": _worst(settled, "p50_ms"),
            "p99_ms": _worst(settled, "p99_ms"),
            "max_ms": _worst(settled, "max_ms"),
            "cpu_us_per_delivery": used * 1e6 / received if received and used else None,
            "server_core_busy": used / seconds if used else None,
            "load_core_busy": load_used / seconds,
        }

    async def warm(self, payload_bytes: int, messages: int = WARM_MESSAGES) -> None:
        """Deliver a few messages one after the other, which count nowhere."""
        for _ in range(messages):
            await self.deliver(Load(self.count, 1, None, payload_bytes))


def _worst(settled: list[dict[str, Any]], name: str) -> float | None:
    values = [each[name] for each in settled if each[name] is not None]
    return max(values) if values else None


@asynccontextmanager
async def crowd(*servers: Server) -> AsyncIterator[Crowd]:
    """Start the workers for these servers; their connections are aborted at the end."""
    async with (
        worker("bench.load.publisher") as publisher,
        _workers(len(servers)) as subscribers,
    ):
        # Clients of one run share stores: none may be taken for another.
        apart = [
            server._replace(
                target=server.target._replace(run=f"{server.target.run}-{next(_crowds)}")
            )
            for server in servers
        ]
        yield Crowd(apart, subscribers, publisher)


@asynccontextmanager
async def _workers(number: int) -> AsyncIterator[list[Worker]]:
    if not number:
        yield []
        return
    async with worker("bench.load.subscribers") as one, _workers(number - 1) as others:
        yield [one, *others]
