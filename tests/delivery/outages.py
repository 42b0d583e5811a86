"""Fault runs in which what the servers stand on is away: killed, or alive and silent."""

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from tests.delivery.fault_run import SETTLE_SECONDS, FaultRun, Parameters, until
from tests.delivery.history import (
    Acknowledged,
    Evidence,
    FaultOff,
    FaultOn,
    History,
    Invoked,
    Unknown,
)
from tests.delivery.wishes import TOPICS
from tests.deployment import Answer, Deployment, Server
from tests.private_servers import PrivateServer
from tests.resilience.observed import Held, figures, held

NOT_READY = "the readiness probes say that it is away"
HINTS_DROPPED = "every server dropped hints"
REFUSED = "a publish was refused"

EPHEMERAL = "passing.by"
"""A topic that a policy of the run makes ephemeral."""

BACK_WITHIN = 20.0
"""Seconds in which the servers let go of what the outages made them hold."""

CAUGHT_UP_WITHIN = 60.0
"""Seconds in which publishers have done what they could not do in an outage."""

MORE = 3
"""Descriptors and tasks that a server may have more than before, those of its sockets aside: what
is under way at the moment of a look."""


class OutageRun(FaultRun):
    """Takes one server away that the servers of the run need, by turns with SIGKILL and SIGSTOP.

    before, after: what each server held before the first outage and when all was over.
    """

    name: str
    needs: tuple[str, ...]

    def __init__(
        self,
        deployment: Deployment,
        history: History,
        parameters: Parameters,
        victim: PrivateServer,
    ) -> None:
        super().__init__(deployment, history, parameters)
        self.victim = victim
        self.before: list[Held] = []
        self.after: list[Held] = []

    async def harm(self, number: int) -> None:
        """Take it away, see that it bites, bring it back, see that the servers use it again."""
        if not self.before:
            self.before = await self._of_each(held)
        way = ("killed", "frozen")[number % 2]
        fault = f"{self.name} {way} ({number + 1})"
        self.history.record(FaultOn(fault=fault, needs=list(self.needs)))
        left_at = time.monotonic()
        await asyncio.to_thread(self.victim.kill if way == "killed" else self.victim.freeze)
        await self.while_away(fault)
        await asyncio.sleep(max(0, left_at + self.parameters.down - time.monotonic()))
        await asyncio.to_thread(self.victim.start if way == "killed" else self.victim.thaw)
        await self.when_back()
        # What publishers could not do meanwhile they do now; only then a quiet phase begins.
        deadline = time.monotonic() + CAUGHT_UP_WITHIN
        while not all(plan.lag < 1 for plan in self.plans):
            assert time.monotonic() < deadline, "publishers do not catch up"
            await asyncio.sleep(0.1)
        self.history.record(FaultOff(fault=fault))

    @abstractmethod
    async def while_away(self, fault: str) -> None:
        """See that it bites, and that what must go on does."""

    @abstractmethod
    async def when_back(self) -> None:
        """See that it is used again."""

    async def look_around(self) -> None:
        """See that every server holds what it held before."""
        deadline = time.monotonic() + BACK_WITHIN
        while True:
            self.after = await self._of_each(held)
            if all(map(_is_back, self.after, self.before)):
                return
            told = f"the servers hold {self.after}, and had {self.before}"
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.5)

    # --- Looking ------------------------------------------------------------------------------

    async def _of_each(self, ask: Callable[[Server], Any]) -> list[Any]:
        return [await asyncio.to_thread(ask, server) for server in self.servers]

    async def _figures(self, name: str) -> list[float]:
        return [known[name] for known in await self._of_each(figures)]

    async def _until_more(self, name: str, than: Sequence[float], otherwise: str) -> None:
        """Wait until a figure of every server is above what it was."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not all(map(float.__gt__, await self._figures(name), than)):
            assert time.monotonic() < deadline, otherwise
            await asyncio.sleep(0.1)

    async def _until_ready(self, wanted: Callable[[Answer], bool], otherwise: str) -> None:
        """Wait until the readiness probe of every server says what is wanted."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not all(map(wanted, await self._of_each(lambda one: one.request("GET", "/readyz")))):
            assert time.monotonic() < deadline, otherwise
            await asyncio.sleep(0.1)

    async def _until_delivered(self) -> None:
        """Wait until whoever stays has all that the log has now."""
        heads = await self.heads()
        staying = [one for one in self.subscribers if not one.comes_and_goes]
        await until(lambda: all(one.covers(heads) for one in staying), "the log is not delivered")

    async def _publish(self, server: Server, topic: str, key: str) -> Answer:
        """Publish as the run's publishers do, and note it as they do."""
        self.history.record(Invoked(publisher=self.name, key=key, topic=topic))
        answer = await asyncio.to_thread(
            lambda: server.publish(self.publishing_key, topic, {"key": key}, idempotencyKey=key)
        )
        if answer.status == 201:
            self.history.record(
                Acknowledged(
                    publisher=self.name,
                    key=key,
                    topic=topic,
                    id=answer.body["id"],
                    seq=answer.body["seq"],
                    position=tuple(answer.body["position"]),
                )
            )
        else:
            self.history.record(Unknown(publisher=self.name, key=key, reason=str(answer.status)))
        return answer


def _is_back(now: Held, before: Held) -> bool:
    return (
        now.descriptors - now.connections <= before.descriptors - before.connections + MORE
        and now.tasks - now.connections <= before.tasks - before.connections + MORE
    )


class RedisOutage(OutageRun):
    """Takes Redis away."""

    name = "Redis"
    needs = (NOT_READY, HINTS_DROPPED)

    async def while_away(self, fault: str) -> None:
        """See that the log is delivered all the same, and that ephemeral messages are refused."""
        dropped = await self._figures("bellwether_hints_dropped_total")
        await self._until_ready(
            lambda answer: (answer.status, answer.body["redis"]) == (200, "away"),
            "the probes do not say that Redis is away",
        )
        self.history.record(Evidence(fault=fault, what=NOT_READY))
        await self._until_more("bellwether_hints_dropped_total", dropped, "no hint was dropped")
        self.history.record(Evidence(fault=fault, what=HINTS_DROPPED))
        await self._until_delivered()
        for server in self.servers:
            refused = await asyncio.to_thread(server.publish, self.publishing_key, EPHEMERAL, 1)
            assert (refused.status, refused.body["code"]) == (503, "OVERLOADED"), refused
            assert int(refused.headers["retry-after"]) > 0

    async def when_back(self) -> None:
        """See that hints come again, and ephemeral messages are taken."""
        received = await self._figures("bellwether_hints_received_total")
        await self._until_more("bellwether_hints_received_total", received, "no hint comes")
        await self._until_ready(
            lambda answer: (answer.status, answer.body["redis"]) == (200, "ok"),
            "the probes do not say that Redis is back",
        )
        for server in self.servers:
            taken = await asyncio.to_thread(server.publish, self.publishing_key, EPHEMERAL, 1)
            assert taken.status == 201, taken

    async def look_around(self) -> None:
        """See that each server hears of what the other one publishes, in every partition."""
        for publishing, other in (self.servers, self.servers[::-1]):
            before = await asyncio.to_thread(figures, other)
            for topic in TOPICS:
                key = f"{publishing.port} {topic}"
                assert (await self._publish(publishing, topic, key)).status == 201
            wanted = before["bellwether_hints_received_total"] + len(TOPICS)
            deadline = time.monotonic() + SETTLE_SECONDS
            while (now := await asyncio.to_thread(figures, other))[
                "bellwether_hints_received_total"
            ] < wanted:
                assert time.monotonic() < deadline, "hints of some partitions do not come"
                await asyncio.sleep(0.1)
            assert now["bellwether_hints_waiting"] == 0
        await self._until_delivered()
        await super().look_around()


class PostgresOutage(OutageRun):
    """Takes PostgreSQL away."""

    name = "PostgreSQL"
    needs = (NOT_READY, REFUSED)

    async def while_away(self, fault: str) -> None:
        """See that publishers are refused in time, as the contract says."""
        await self._until_ready(
            lambda answer: (
                answer.status == 503 and answer.body["reasons"] == ["database unreachable"]
            ),
            "the probes do not say that the database is away",
        )
        self.history.record(Evidence(fault=fault, what=NOT_READY))
        for server in self.servers:
            refused = await self._publish(server, TOPICS[0], f"{fault} {server.port}")
            assert (refused.status, refused.body["code"]) == (503, "UNAVAILABLE"), refused
            assert int(refused.headers["retry-after"]) > 0
        self.history.record(Evidence(fault=fault, what=REFUSED))

    async def when_back(self) -> None:
        """See that publishes are taken and delivered again."""
        appended = await self._figures("bellwether_messages_appended_total")
        await self._until_more("bellwether_messages_appended_total", appended, "none is taken")
        await self._until_ready(lambda answer: answer.status == 200, "the probes do not say so")
        await self._until_delivered()
