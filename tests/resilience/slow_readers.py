"""Readers that keep up beside some that don't: what the slow ones cost, and what they get.

First the quick readers are alone; then the same publishes go on beside slow ones. Each of these has
a topic of its own, so that what waits for them is not shared. Afterwards the slow ones leave, the
server must be as it was, and they come back for everything.
"""

import asyncio
import time
from dataclasses import dataclass

from bench.load.connection import Opening, Subscriber
from bench.load.dialects import Target
from bench.load.percentiles import summary
from bench.load.tally import Tally
from bench.machine.queues import queues
from tests.deployment import Deployment
from tests.resilience.crowd import TOPIC, Crowd, Publisher, own_topic
from tests.resilience.observed import (
    DEPLOYED,
    KIB,
    MIB,
    Held,
    back_to,
    figures,
    held,
    resident,
)
from tests.resilience.sluggish import Sluggish
from tests.socket_client import connect

BACK_WITHIN = 15.0
"""Seconds in which a server lets go of all that belonged to readers who left."""

BUFFER_BYTES = MIB
"""Of each connection; the default."""

CACHE_BYTES = 16 * MIB
"""The replay cache of the server: it fills whether readers are slow or not."""

WRITTEN_BYTES = 256 * KIB + 64 * KIB
"""Bytes that the transport of one connection may hold besides its buffer: one write, and what
uvloop takes before it says that it is full."""

NOISE_BYTES = 24 * MIB
"""Memory that comes and goes whoever reads: the log's writer, requests, the allocator."""


@dataclass
class Outcome:
    """What a run found. Latencies are milliseconds from publishing to reading.

    blocked: of the readers that were reset, those that the server could not write to then.
    closed_slow: connections that the server gave up as too slow. had: messages that slow readers
    had before they left. incomplete: quick readers that did not get each message once.
    back_after: seconds.
    """

    alone: dict[str, float | None]
    beside: dict[str, float | None]
    published: int
    incomplete: int
    reset: int
    blocked: int
    closed_slow: int
    had: int
    base: Held
    peak: int
    bound: int
    after: Held
    back_after: float
    resumed_whole: int
    resumed_wrong: list[str]

    def __str__(self) -> str:
        ratio = (self.beside["p99_ms"] or 0) / (self.alone["p99_ms"] or 1)
        return "\n".join(
            (
                f"quick readers alone    {self.alone}",
                f"beside the slow ones   {self.beside}   p99 {ratio:.2f} x",
                f"published {self.published}, quick readers not served whole: {self.incomplete}",
                f"reset {self.reset}, {self.blocked} of them while a write to them was blocked;"
                f" closed as slow: {self.closed_slow}",
                f"before     {self.base}",
                f"memory at its peak {self.peak / MIB:.1f} MiB: grown by"
                f" {(self.peak - self.base.resident) / MIB:.1f} of {self.bound / MIB:.1f} MiB",
                f"after      {self.after}, {self.back_after:.1f} s after they had left",
                f"resumed whole and in order: {self.resumed_whole}, wrong: {self.resumed_wrong};"
                f" the slow ones had {self.had} messages before",
            )
        )


class _Run:
    def __init__(self, deployment: Deployment, crowd: Crowd) -> None:
        self.deployment = deployment
        self.crowd = crowd
        deployment.env.update(DEPLOYED)
        self.key = deployment.key
        self.server = deployment.start(
            NOTIFICATIONS_BUFFER_BYTES=str(BUFFER_BYTES),
            NOTIFICATIONS_REPLAY_CACHE_BYTES=str(CACHE_BYTES),
            NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS="600",  # nobody here pings
        )
        self.tally = Tally()
        self.quick: list[Subscriber] = []
        self.slow: list[Sluggish] = []
        self.peak = 0

    async def run(self) -> Outcome:
        try:
            # Without the library's own pings: on a busy machine they would end the connection.
            async with connect(self.server.socket_url, ping_interval=None) as client:
                await client.authenticate(self.key, "publisher")
                return await self._run(Publisher(client, self.crowd))
        finally:
            for quick in self.quick:
                quick.abort()
            for slow in self.slow:
                slow.leave()

    async def _run(self, publisher: Publisher) -> Outcome:
        crowd = self.crowd
        await self._connect_quick()
        await publisher.publish(1)  # connections to the database, pages of code: not measured
        await self._settle(publisher.count)
        alone = await self._measure(publisher)
        base = await asyncio.to_thread(held, self.server)

        await self._connect_slow()
        sipping, deaf = self.slow[: crowd.slow], self.slow[crowd.slow :]
        tasks = [asyncio.create_task(one.sip(crowd.sip)) for one in sipping]
        tasks.append(asyncio.create_task(self._watch_memory()))
        resetting = asyncio.create_task(self._reset_when_blocked(deaf[: crowd.deaf // 2]))
        beside = await self._measure(publisher)
        blocked = await resetting
        known = await asyncio.to_thread(figures, self.server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self.slow:
            one.leave()
        after, back_after = await back_to(self.server, base, within=BACK_WITHIN)

        served = publisher.count, publisher.stamp_sum
        # They subscribed after the first part, in which each topic had as many.
        whole, wrong = await self._resume(range(crowd.each + 1, 2 * crowd.each + 1))
        return Outcome(
            alone=alone,
            beside=beside,
            published=publisher.count,
            incomplete=sum((q.count, q.stamp_sum) != served or q.lost for q in self.quick),
            reset=crowd.deaf // 2,
            blocked=blocked,
            closed_slow=int(known.get('bellwether_connections_closed_total{code="4409"}', 0)),
            had=sum(len(one.had) for one in sipping),
            base=base,
            peak=self.peak,
            bound=len(self.slow) * (BUFFER_BYTES + WRITTEN_BYTES) + CACHE_BYTES + NOISE_BYTES,
            after=after,
            back_after=back_after,
            resumed_whole=whole,
            resumed_wrong=wrong,
        )

    async def _connect_quick(self) -> None:
        target = Target("ours", self.server.port, TOPIC, self.key, "quick")
        loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(32)

        async def add(index: int) -> None:
            async with gate:
                opening = Opening(target, index, self.tally)
                await loop.create_connection(lambda: opening, "127.0.0.1", target.port)
                self.quick.append(await opening.subscribed)

        await asyncio.gather(*(add(index) for index in range(self.crowd.quick)))

    async def _connect_slow(self) -> None:
        gate = asyncio.Semaphore(32)
        for index in range(self.crowd.slow + self.crowd.deaf):
            self.slow.append(Sluggish(self.server, self.key, f"slow-{index}", own_topic(index)))

        async def open_one(one: Sluggish) -> None:
            async with gate:
                await one.open()

        await asyncio.gather(*map(open_one, self.slow))

    async def _measure(self, publisher: Publisher) -> dict[str, float | None]:
        before = self.tally.received
        self.tally.latencies = []
        sent = publisher.count
        await publisher.publish_to_all(self.crowd.seconds)
        await self._settle(before // len(self.quick) + publisher.count - sent)
        return summary(self.tally.latencies)

    async def _settle(self, messages: int) -> None:
        """Wait until all quick readers together have so many messages each."""
        reached = asyncio.Event()
        self.tally.at(messages * len(self.quick), reached.set)
        async with asyncio.timeout(60):
            await reached.wait()

    async def _watch_memory(self) -> None:
        while True:
            self.peak = max(self.peak, resident(self.server))
            await asyncio.sleep(0.2)

    async def _reset_when_blocked(self, deaf: list[Sluggish]) -> int:
        """Reset each reader as soon as the server cannot write to it; return how many that were.

        Those to whom it always could are reset all the same, at the end.
        """
        waiting = {one.local_port(): one for one in deaf}
        seen: dict[int, int] = {}
        blocked = 0
        deadline = time.monotonic() + self.crowd.seconds * 0.9
        while waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.25)
            unsent = {queue.peer: queue.unsent for queue in queues(port=self.server.port)}
            for port, one in list(waiting.items()):
                # The kernel holds bytes for it and as many as a while ago, though messages were
                # published meanwhile: it takes nothing more from the server.
                held_back = unsent.get(port, 0)
                if held_back and seen.get(port) == held_back:
                    blocked += 1
                    del waiting[port]
                    one.reset()
                seen[port] = held_back
        for one in waiting.values():
            one.reset()
        return blocked

    async def _resume(self, wanted: range) -> tuple[int, list[str]]:
        """Bring all slow readers back; return how many have all that is wanted, in order, once."""
        gate = asyncio.Semaphore(16)
        wrong: list[str] = []

        async def come_back(one: Sluggish) -> None:
            async with gate:
                got = await one.resume(wanted[-1])
            if one.had + got != list(wanted):
                wrong.append(f"{one.client_id}: {len(one.had)} and {len(got)} of {len(wanted)}")

        await asyncio.gather(*map(come_back, self.slow))
        return len(self.slow) - len(wrong), wrong


async def slow_readers(deployment: Deployment, crowd: Crowd) -> Outcome:
    """Run a crowd against one server of a deployment."""
    return await _Run(deployment, crowd).run()
