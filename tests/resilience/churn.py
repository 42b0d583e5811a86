"""Clients that connect, subscribe and leave, again and again: does the server keep any of it?"""

import asyncio
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.load.connection import Opening
from bench.load.dialects import Conversation, expect, frame
from bench.load.frames import Opcode, encode
from bench.load.tally import Tally
from tests.deployment import Deployment
from tests.resilience.observed import DEPLOYED, MIB, Held, back_to, held, resident

BACK_WITHIN = 15.0
"""Seconds in which a server lets go of what belonged to those who left."""

OPEN_WITHIN = 60.0
"""Seconds in which a client must be subscribed, on a machine that does other things too."""

RETRIES = 30
"""Times that a client comes back, a second each, when the server says that it cannot just now."""

_CLOSE = encode(Opcode.CLOSE, struct.pack("!H", 1000))


@dataclass(frozen=True)
class Churn:
    """How much of it.

    cycles: connections in all. clients: names that share them. at_once: connections at a time.
    every: cycles between two looks at the memory.
    """

    cycles: int
    clients: int
    at_once: int = 32
    every: int = 5_000


@dataclass
class Outcome:
    """What a run found.

    base, after: what the server held before and after. memory: bytes resident, by the cycles done.
    back_after: seconds. seconds: of all cycles. refused: answers that the server could not serve a
    client just now (its database has deadlines); the client came back.
    """

    base: Held
    memory: dict[int, int]
    after: Held
    back_after: float
    seconds: float
    refused: int

    def __str__(self) -> str:
        rows = "\n".join(
            f"{cycles:>7} cycles  {size / MIB:.1f} MiB" for cycles, size in self.memory.items()
        )
        return (
            f"before  {self.base}\n{rows}\nafter   {self.after}, {self.back_after:.1f} s after the"
            f" last had left\n{max(self.memory) / self.seconds:.0f} cycles a second,"
            f" {self.refused} clients refused for a moment"
        )


class Visitors:
    """Who comes next and what it says; an implementation of bench.load.dialects.Speaker."""

    path = "/ws"

    def __init__(self, port: int, key: str, clients: int) -> None:
        self.headers = {"Sec-WebSocket-Protocol": "notifications.v1.json"}
        self.port = port
        self._key = key
        self._clients = clients

    def converse(self, index: int) -> Conversation:
        """Authenticate, end what the last visit left, subscribe to a topic that nobody had."""
        visit, client = divmod(index, self._clients)
        hello = frame(type="auth", token=self._key, clientId=f"churn-{client}")
        held = expect((yield hello), "auth_success")["subscriptions"]
        standing = f"crowd.{client}.*"
        if standing not in {row["topic"] for row in held}:
            expect((yield frame(type="subscribe", id=1, topic=standing)), "subscribed")
        for row in held:
            if row["topic"] != standing:
                gone = frame(type="unsubscribe", id=2, subscriptionId=row["subscriptionId"])
                expect((yield gone), "unsubscribed")
        topic = f"crowd.{client}.visit-{visit}"
        subscribed = expect((yield frame(type="subscribe", id=3, topic=topic)), "subscribed")
        if visit % 2:
            own = frame(type="unsubscribe", id=4, subscriptionId=subscribed["subscriptionId"])
            expect((yield own), "unsubscribed")


class _Run:
    def __init__(self, deployment: Deployment, plan: Churn) -> None:
        deployment.env.update(DEPLOYED)
        self.server = deployment.start()
        self.refused = 0
        self._plan = plan
        self._visitors = Visitors(self.server.port, deployment.key, plan.clients)
        self._gate = asyncio.Semaphore(plan.at_once)
        # A visit would take over the one before it.
        self._turns = [asyncio.Lock() for _ in range(plan.clients)]
        self._tally = Tally()

    async def visits(self, first: int, last: int) -> None:
        """Come and go, from one number to before another."""
        await asyncio.gather(*map(self._visit, range(first, last)))

    async def _visit(self, index: int) -> None:
        async with self._gate, self._turns[index % self._plan.clients]:
            for _ in range(RETRIES):
                try:
                    return await self._come_and_go(index)
                except ConnectionError as error:
                    if '"temporary":true' not in str(error):
                        raise
                    self.refused += 1
                    await asyncio.sleep(1)
        raise AssertionError(f"the server could not serve visit {index}, {RETRIES} times")

    async def _come_and_go(self, index: int) -> None:
        opening = Opening(self._visitors, index, self._tally)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_WITHIN):
            transport, _ = await loop.create_connection(
                lambda: opening, "127.0.0.1", self.server.port
            )
            try:
                subscriber = await opening.subscribed
                if index % 3:
                    transport.write(_CLOSE)
                    while not subscriber.lost:
                        await asyncio.sleep(0.005)
            finally:
                transport.abort()  # every third is gone without a word


async def churn(deployment: Deployment, plan: Churn, tell: Callable[[str], None]) -> Outcome:
    """Run it against one server of a deployment; `tell` gets a line now and then."""
    run = _Run(deployment, plan)
    # The pool of database connections and the pages of code are filled by the first visits.
    await run.visits(0, plan.clients)
    await asyncio.sleep(1)
    base, started = await asyncio.to_thread(held, run.server), time.monotonic()
    memory: dict[int, int] = {}
    for first in range(0, plan.cycles, plan.every):
        last = min(first + plan.every, plan.cycles)
        await run.visits(plan.clients + first, plan.clients + last)
        memory[last] = resident(run.server)
        tell(f"{last} cycles, {memory[last] / MIB:.1f} MiB")
    seconds = time.monotonic() - started
    after, back_after = await back_to(run.server, base, within=BACK_WITHIN)
    return Outcome(base, memory, after, back_after, seconds, run.refused)
