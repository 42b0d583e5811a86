"""A client's life at a real server through the fault proxy, and what must be true of it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.clients.driver_process import DriverProcess, Observation
from tests.clients.fault_proxy import Cut, FaultProxy, Passage
from tests.clients.feed import TOPICS, Feed

WITHIN: Final = 40.0
"""Seconds in which a client must have everything; a life takes a fraction of one."""

PUBLISHES: Final = 3

_ROWS = json.loads(
    (Path(__file__).parent.parent / "vectors/states.json").read_text(encoding="utf-8")
)["transitions"]
LEGAL: Final = {(row["from"], row["to"]) for row in _ROWS if row["to"] is not None}


@dataclass
class Seen:
    """What a client told in its life."""

    got: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    states: list[Observation] = field(default_factory=list)
    events: list[Observation] = field(default_factory=list)
    calls: dict[str, Observation] = field(default_factory=dict)
    ready: dict[str, Observation] = field(default_factory=dict)
    rest: list[Observation] = field(default_factory=list)

    def take(self, observation: Observation, life: str) -> None:
        """Sort an observation in, if it is of this life."""
        if "got" in observation:
            topic, number = observation["got"]["topic"], observation["got"]["n"]
            name, _, of = observation["by"].partition(" ")
            if of == life:
                self.got[name, topic].append(number)
        elif "state" in observation:
            self.states.append(observation)
        elif "event" in observation:
            self.events.append(observation)
        elif "call" in observation:
            self.calls[observation["call"]] = observation
        elif "ready" in observation:
            self.ready[observation["ready"]] = observation
        else:
            self.rest.append(observation)

    def summary(self) -> str:
        """Describe it in a few lines."""
        got = {pair: (numbers[0], numbers[-1], len(numbers)) for pair, numbers in self.got.items()}
        return f"{got}\n{self.states[-6:]}\n{self.events[-6:]}\n{self.calls}\n{self.ready}"


class Life:
    """One client with two subscriptions, which overlap, and publishes of its own.

    since: what had been published of each topic when both were ready. until: what was stored when
    the faults were over; between these nothing may be missing.
    """

    def __init__(self, driver: DriverProcess, proxy: FaultProxy, feed: Feed, name: str) -> None:
        self.seen = Seen()
        self.name = name
        self._driver = driver
        self._proxy = proxy
        self._feed = feed
        self.since: dict[str, int] = {}
        self.until: dict[str, int] = {}

    async def live(self, key: str, **config: Any) -> None:
        """Connect, subscribe, publish; leave when everything has come after the last fault."""
        tell = self._driver.tell
        storage = self._driver.storage.with_name(f"{self.name}.json")
        tell("new", config=_config(self._proxy.url, key) | config, storage=str(storage))
        # Names of its own: handlers of the life before may still have messages.
        tell("subscribe", **{"as": f"one {self.name}"}, topic=TOPICS[0])
        tell("subscribe", **{"as": f"all {self.name}"}, topic="feed.**", handler={"*": "pause"})
        tell("connect")
        await self._until_true(lambda: len(self.seen.ready) == 2)
        self.since = dict(self._feed.begun)
        for number in range(PUBLISHES):
            payload = {"topic": self.topic, "n": number}
            tell("publish", **{"as": f"p{number}"}, topic=self.topic, payload=payload)
        await self._until_true(lambda: self._is_over_the_faults() and self._is_answered())
        self.until = dict(self._feed.stored)
        await self._until_true(self._has_everything)
        tell("latency")
        tell("state")
        await self._until_true(lambda: bool(self.seen.rest))
        await self._driver.settle()
        self._take_what_is_there()
        tell("disconnect")
        await self._until_true(lambda: "disconnect" in self.seen.calls)

    @property
    def passages(self) -> list[Passage]:
        """The client's connections."""
        return self._proxy.passages

    @property
    def topic(self) -> str:
        """Where the client publishes."""
        return f"own.{self.name}"

    # --- What must be true ----------------------------------------------------------------------

    def check(self) -> None:
        """Check everything, and say what the connections were."""
        told = f"{self.name}: {self._told()}"
        self._check_messages(told)
        self._check_states(told)
        assert not [one for one in self.seen.events if one["event"] != "recovered"], told
        failed = [
            one for one in (*self.seen.calls.values(), *self.seen.ready.values()) if "failed" in one
        ]
        assert not failed, told

    def _check_messages(self, told: str) -> None:
        wanted = [("one", TOPICS[0]), ("all", TOPICS[0]), ("all", TOPICS[1])]
        assert set(self.seen.got) == set(wanted), told
        for name, topic in wanted:
            numbers = self.seen.got[name, topic]
            assert not (jumps := _jumps(numbers)), f"{told}: {name} of {topic} jumps {jumps}"
            assert numbers[0] <= self.since[topic] + 1, f"{told}: the beginning is missing"
            assert numbers[-1] >= self.until[topic], told

    def _check_states(self, told: str) -> None:
        statuses = [one["state"] for one in self.seen.states]
        # The last but one was asked for while connected, and is no transition.
        assert statuses[-2:] == ["connected", "disconnected"], told
        transitions = ["disconnected", *statuses[:-2], "disconnected"]
        steps = list(pairwise(transitions))
        assert set(steps) <= LEGAL, f"{told}: {steps}"
        struck = sum(passage.struck for passage in self.passages)
        assert statuses.count("reconnecting") == struck, told
        connected = statuses.count("connected") - 1
        answered = sum(passage.answered for passage in self.passages)
        if all(isinstance(one.fault, Cut | None) for one in self.passages):
            assert connected == answered, f"{told}: {statuses}"
        else:  # what came before a reset may be thrown away with it
            assert connected <= answered, f"{told}: {statuses}"

    # --- Waiting ------------------------------------------------------------------------------

    def _is_over_the_faults(self) -> bool:
        passages = self.passages
        return (
            self._proxy.is_spent
            and all(one.struck for one in passages if one.must_strike)
            and not passages[-1].must_strike
            and self.seen.states[-1]["state"] == "connected"
        )

    def _is_answered(self) -> bool:
        return all(f"p{number}" in self.seen.calls for number in range(PUBLISHES))

    def _has_everything(self) -> bool:
        last = {pair: numbers[-1] for pair, numbers in self.seen.got.items()}
        return all(
            last.get(pair, 0) >= self.until[pair[1]]
            for pair in (("one", TOPICS[0]), ("all", TOPICS[0]), ("all", TOPICS[1]))
        )

    async def _until_true(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                while not condition():
                    self.seen.take(await self._driver.next(), self.name)
        except TimeoutError:
            raise AssertionError(
                f"{self.name} waits: {self._told()}\n{self.seen.summary()}"
            ) from None

    def _told(self) -> str:
        return "; ".join(f"{one.fault} after {one.frames} frames" for one in self.passages)

    def _take_what_is_there(self) -> None:
        while not self._driver.observations.empty():
            self.seen.take(self._driver.observations.get_nowait(), self.name)


def _jumps(numbers: list[int]) -> list[tuple[int, int]]:
    """Find what does not follow on what came before it."""
    return [(one, two) for one, two in pairwise(numbers) if two != one + 1]


def _config(url: str, key: str) -> dict[str, Any]:
    """Retry at once, and ping often, so that pings are among the frames that are cut."""
    retry = {
        "maxRetries": 0,
        "initialDelay": 1,
        "maxDelay": 5,
        "backoffMultiplier": 1,
        "jitter": False,
    }
    return {"url": url, "auth": key, "retryConfig": retry, "heartbeatInterval": 50}
