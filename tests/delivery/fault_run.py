"""A fault run: two servers, steady publishers, subscribers that come and go, and kill -9.

Everything that happens goes into a history; tests/delivery/checker.py judges it.
"""

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.delivery.checker import check
from tests.delivery.fault_publishers import (
    LAST_CALL,
    Plan,
    RestPublisher,
    SocketPublisher,
    make_plans,
)
from tests.delivery.fault_subscriber import FaultSubscriber
from tests.delivery.history import (
    Evidence,
    FaultOff,
    FaultOn,
    History,
    Logged,
    Offsets,
    Stopped,
    read_history,
)
from tests.delivery.report import Report
from tests.delivery.subscriber_state import SubscriberState
from tests.delivery.wishes import TOPICS, WISHES, Wish
from tests.deployment import Deployment, Server
from tests.ports import free_port

PROCESS_GONE = "the process is gone"
SOCKET_BROKE = "a client's socket broke"

QUIESCE_SECONDS = 20.0
"""Seconds in which every subscriber must have everything after the last publish."""

SETTLE_SECONDS = 15.0
"""Seconds for any other condition that the run waits for."""


@dataclass(frozen=True)
class Parameters:
    """What a run is made of.

    seconds: of publishing, all in all. kills: how many, evenly. rate: publishes a second.
    down: seconds that a killed server stays away. quiet_within: seconds after the last publish in
    which all is to have arrived. env: for the servers.
    """

    seconds: float = 40
    kills: int = 3
    rate: float = 60
    rest_publishers: int = 4
    socket_publishers: int = 2
    down: float = 1.5
    quiet_within: float = QUIESCE_SECONDS
    wishes: Sequence[Wish] = WISHES
    env: dict[str, str] = field(default_factory=dict)
    seed: int = 1


async def fault_run(
    deployment: Deployment,
    directory: Path,
    parameters: Parameters,
    make: "Callable[[Deployment, History, Parameters], FaultRun] | None" = None,
) -> Report:
    """Run, write the history into a directory, and return the checker's report of it.

    make: makes a run whose harm is another than kill -9 of the servers.
    """
    with History(directory / "history.jsonl") as history:
        run = (make or FaultRun)(deployment, history, parameters)
        await run.run()
    return check(read_history(history.path))


class FaultRun:
    """One run. Subclasses do other harm."""

    def __init__(self, deployment: Deployment, history: History, parameters: Parameters) -> None:
        self.deployment = deployment
        self.history = history
        self.parameters = parameters
        self.servers: list[Server] = []
        self.subscribers: list[FaultSubscriber] = []
        self.stop = threading.Event()
        self.publishing_key = ""
        self.plans: list[Plan] = []

    async def run(self) -> None:
        """Start everything, do the harm, heal, wait until all is quiet, audit the log."""
        parameters = self.parameters
        ports = [free_port(), free_port()]
        self.servers = list(await asyncio.gather(*map(self._start, ports)))
        async with self._subscribing():
            async with self._publishing():
                phase = parameters.seconds / (parameters.kills + 1)
                for number in range(parameters.kills):
                    await asyncio.sleep(phase - parameters.down)  # a quiet phase, by intent
                    await self.harm(number)
                await asyncio.sleep(phase)
                for subscriber in self.subscribers:
                    subscriber.steady = True
            self.history.record(Stopped())
            await self._quiesce()
            await self.look_around()
            await asyncio.to_thread(self._audit)

    # --- Servers ------------------------------------------------------------------------------

    async def _start(self, port: int) -> Server:
        env = {"NOTIFICATIONS_RATE_LIMITS": "off"} | self.parameters.env
        return await asyncio.to_thread(lambda: self.deployment.start(port=port, **env))

    async def harm(self, number: int) -> None:
        """Kill a server with SIGKILL, see that it bit, and start it again on its port."""
        place = number % len(self.servers)
        victim = self.servers[place]
        url = victim.socket_url
        await until(
            lambda: any(one.is_on(url) for one in self.subscribers),
            "nobody is on the server to kill",
        )
        fault = f"kill {number + 1}"
        broken = sum(one.broken[url] for one in self.subscribers)
        self.history.record(FaultOn(fault=fault, needs=[PROCESS_GONE, SOCKET_BROKE]))
        await asyncio.to_thread(victim.kill)
        killed_at = time.monotonic()
        if victim.process.poll() is not None:
            self.history.record(Evidence(fault=fault, what=PROCESS_GONE))
        await until(
            lambda: sum(one.broken[url] for one in self.subscribers) > broken,
            "no socket broke",
        )
        self.history.record(Evidence(fault=fault, what=SOCKET_BROKE))
        await asyncio.sleep(max(0, killed_at + self.parameters.down - time.monotonic()))
        self.servers[place] = await self._start(victim.port)
        self.history.record(FaultOff(fault=fault))

    async def look_around(self) -> None:
        """Check, when all is quiet, what the history does not show."""

    # --- Clients ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _subscribing(self) -> AsyncIterator[None]:
        """Have the subscribers connected and subscribed, and kept so, meanwhile."""
        urls = [server.socket_url for server in self.servers]
        wishes = self.parameters.wishes
        grants = sorted({wish.grants for wish in wishes})
        made = await asyncio.gather(*(self._key(f"--grant-subscribe={one}") for one in grants))
        keys = dict(zip(grants, made, strict=True))
        for wish in wishes:
            state = SubscriberState(
                wish.name,
                self.history,
                patterns=wish.patterns,
                grants=[wish.grants],
                deduplicates=wish.deduplicates,
            )
            chance = random.Random(f"{self.parameters.seed} {wish.name}")
            self.subscribers.append(
                FaultSubscriber(
                    state, self.history, urls, keys[wish.grants], habits=wish.habits, chance=chance
                )
            )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.run()) for one in self.subscribers]
            await until(
                lambda: all(one.is_served for one in self.subscribers),
                "not all subscribers are served",
            )
            yield
            for task in running:
                task.cancel()

    @asynccontextmanager
    async def _publishing(self) -> AsyncIterator[None]:
        """Have the publishers publish meanwhile; then wait until each has its last answer."""
        parameters = self.parameters
        key = self.publishing_key = await self._key("--grant-publish=**")
        names = [f"rest {number}" for number in range(parameters.rest_publishers)]
        names += [f"socket {number}" for number in range(parameters.socket_publishers)]
        plans = self.plans = make_plans(
            self.history,
            TOPICS,
            names,
            rate=parameters.rate,
            stop=self.stop,
            seed=parameters.seed,
        )
        threads = [self._rest(plan, key, first) for first, plan in enumerate(plans)][
            : parameters.rest_publishers
        ]
        urls = [server.socket_url for server in self.servers]
        async with asyncio.TaskGroup() as tasks:
            for first, plan in enumerate(plans[parameters.rest_publishers :]):
                tasks.create_task(SocketPublisher(plan, urls, key, first=first).run())
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self.stop.set()
                for thread in threads:
                    await asyncio.to_thread(thread.join, LAST_CALL + SETTLE_SECONDS)
        assert not any(thread.is_alive() for thread in threads), "a publisher did not end"

    def _rest(self, plan: Plan, key: str, first: int) -> RestPublisher:
        return RestPublisher(plan, [server.url for server in self.servers], key, first=first)

    async def _key(self, *grants: str) -> str:
        if grants in (("--grant-publish=**",), ("--grant-subscribe=**",)):
            return self.deployment.key
        output = await asyncio.to_thread(
            self.deployment.manage, "create_api_key", f"key {' '.join(grants)}", *grants
        )
        return output.strip()

    # --- The end ------------------------------------------------------------------------------

    async def _quiesce(self) -> None:
        """Wait until all subscribers have everything; the checker says what it means if not."""
        heads = await self.heads()
        deadline = time.monotonic() + self.parameters.quiet_within
        while time.monotonic() < deadline:
            if all(one.has_reached(heads) for one in self.subscribers):
                return
            await asyncio.sleep(0.1)

    async def heads(self) -> Offsets:
        """Return how far the log is, by partition."""
        query = "SELECT id, head FROM notifications_partition"
        return dict(await asyncio.to_thread(self.deployment.query, query))

    def _audit(self) -> None:
        """Note the log as it is, read without our code."""
        rows = self.deployment.query(
            "SELECT m.id, t.name, m.seq, m.partition_id, m.offset, m.payload "
            "FROM notifications_message m JOIN notifications_topic t ON t.id = m.topic_id "
            "ORDER BY m.partition_id, m.offset"
        )
        self.history.record(
            *(
                Logged(
                    id=str(id_),
                    topic=topic,
                    seq=seq,
                    position=(partition, offset),
                    key=json.loads(payload)["key"],
                )
                for id_, topic, seq, partition, offset, payload in rows
            )
        )


async def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait until a condition holds, for SETTLE_SECONDS at most."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.02)
