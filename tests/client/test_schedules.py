"""Random schedules: whatever happens to its connections, each handler gets each message that it
should once, in order, and the state listeners tell the truth."""

import asyncio
import itertools
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from bellwether_client import (
    CircuitBreakerConfig,
    Cursor,
    NotificationClient,
    RetryConfig,
    Subscription,
    SubscriptionOptions,
)
from bellwether_client.messages import NotificationMessage
from bellwether_client.states import TRANSITIONS
from bellwether_client.topics import matches, split
from tests.client.memory import Network
from tests.client.model_server import ModelServer
from tests.client.virtual import virtual
from tests.client.world import World

TOPICS = ("a.1", "a.2", "b.1")
PATTERNS = ("a.1", "a.2", "b.1", "a.*", "*.1", "**")
QUIET = 150.0
"""Virtual seconds after the schedule, in which all that was missed comes."""

Step = tuple[Any, ...]


class Reader:
    """A handler, and what it should see.

    from_place: everything after it (by partition) is due; None until it is known.
    """

    def __init__(self, run: "Run", topic: str, kind: str, slow: float) -> None:
        self.run = run
        self.topic = topic
        self.kind = kind
        self.slow = slow
        self.seen: list[tuple[int, int]] = []
        self.from_place: list[int] | None = None
        self.has_left = False
        self.running: NotificationMessage[Any] | None = None
        self.subscription: Subscription

    async def __call__(self, message: NotificationMessage[Any]) -> None:
        assert message.position is not None
        if self.has_left or self.running is not None:
            self.run.wrong.append(f"{self.topic}: {message.position} came too soon or too late")
        self.running = message
        self.seen.append(message.position)
        try:
            await self.handle()
        finally:
            self.running = None

    async def handle(self) -> None:
        if self.kind == "leaves" and len(self.seen) == 2:
            self.leave()
        elif self.kind == "comes back" and len(self.seen) == 2:
            self.leave()
            self.run.subscribe(self.topic, "plain", self.slow)
        elif self.kind == "publishes" and len(self.seen) <= 2:
            self.run.publishing.append(
                asyncio.create_task(self.run.client.publish("b.1", f"by {self.topic}"))
            )
        await asyncio.sleep(self.slow)
        if self.kind == "fails":
            raise ValueError("this handler fails")

    def leave(self) -> None:
        self.has_left = True
        self.subscription.unsubscribe()

    async def become_ready(self, server: ModelServer) -> None:
        await self.subscription.ready()
        if self.from_place is None:
            self.from_place = list(server.heads)

    def check(self, server: ModelServer) -> None:
        for partition in range(len(server.heads)):
            offsets = [offset for number, offset in self.seen if number == partition]
            assert offsets == sorted(set(offsets)), f"{self.topic}: {self.seen}"
        if self.has_left or self.from_place is None:
            return
        due = {
            (message.partition, message.offset)
            for message in server.log
            if message.offset > self.from_place[message.partition]
            and matches(split(self.topic), split(message.topic))
        }
        assert due <= set(self.seen), f"{self.topic} missed {sorted(due - set(self.seen))}"


class Run:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        self.network = Network()
        self.server = ModelServer(self.network, Random(seed))
        self.world = World(
            self.network,
            retry_config=RetryConfig(max_retries=0, initial_delay=30, max_delay=200, jitter=False),
            circuit_breaker=CircuitBreakerConfig(failure_threshold=3, reset_timeout=500),
        )
        self.client: NotificationClient = self.world.client
        self.readers: list[Reader] = []
        self.publishing: list[asyncio.Task[Any]] = []
        self.waiting: list[asyncio.Task[None]] = []
        self.wrong: list[str] = []
        self.client.on_state_change(lambda state: self.truth())
        self.server.resumed_from = self.look_at_cursor

    def truth(self) -> None:
        is_connected = self.client.get_connection_state().status == "connected"
        if is_connected and self.server.accepted < self.world.statuses().count("connected"):
            self.wrong.append("connected, it says")

    def look_at_cursor(self, offsets: list[int]) -> None:
        """A cursor is not past what a handler has in hand, unless that came by its own replay."""
        for reader in self.readers:
            message = reader.running
            if message is None or message.replayed or message.position is None:
                continue
            partition, offset = message.position
            if offset <= offsets[partition]:
                self.wrong.append(f"the cursor {offsets} is past {message.position}")

    def subscribe(self, topic: str, kind: str, slow: float, since: Cursor | None = None) -> None:
        options = SubscriptionOptions(since=since)
        shares = any(one.topic == topic and not one.has_left for one in self.readers)
        reader = Reader(self, topic, kind, slow)
        reader.subscription = self.client.subscribe(topic, reader, options)
        if not reader.subscription.is_active():
            return  # it disagrees with another about `since`
        if since is not None and not shares:  # who comes later has what comes later
            reader.from_place = [since.offsets.get(str(number), 0) for number in range(2)]
        self.readers.append(reader)
        self.waiting.append(asyncio.create_task(reader.become_ready(self.server)))

    def do(self, step: Step) -> None:
        match step:
            case ("publish", topic):
                self.server.publish(topic)
            case ("send", topic):
                self.publishing.append(asyncio.create_task(self.client.publish(topic, "sent")))
            case ("drop", code):
                self.server.drop(code)
            case ("restart", keeps_session, keeps_subscriptions):
                self.server.restart(
                    keeps_session=keeps_session, keeps_subscriptions=keeps_subscriptions
                )
            case ("lost session", topic):
                self.server.restart(keeps_session=False, keeps_subscriptions=True)
                for _ in range(2):
                    self.server.publish(topic)
            case ("cut", frames):
                if self.server.line is not None:
                    self.server.line.frames_left = frames
                else:
                    self.server.next_cut = frames
            case ("cut next", frames):
                self.server.next_cut = frames
            case ("silence",):
                if self.server.line is not None:
                    self.server.line.is_silent = True
            case ("subscribe", topic, kind, slow):
                self.subscribe(topic, kind, slow)
            case ("since and cut", topic, frames):
                for _ in range(3):
                    self.server.publish(topic)
                self.subscribe(topic, "plain", 0.0, Cursor("x1", {}))
                if self.server.line is not None:
                    self.server.line.frames_left = frames
            case ("since", topic, slow):
                self.subscribe(topic, "plain", slow, Cursor("x1", {}))
            case ("unsubscribe", number):
                here = [reader for reader in self.readers if not reader.has_left]
                if here:
                    here[number % len(here)].leave()

    async def play(self, schedule: list[tuple[Step, float]]) -> None:
        serving = asyncio.create_task(self.server.serve())
        connecting = self.world.connecting()
        for step, pause in schedule:
            self.do(step)
            await asyncio.sleep(pause)
        self.server.next_cut = None
        if self.server.line is not None:
            self.server.line.frames_left = None
        await asyncio.sleep(QUIET)
        await connecting
        await asyncio.wait_for(asyncio.gather(*self.publishing, *self.waiting), QUIET)
        self.check()
        await self.client.disconnect()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    def check(self) -> None:
        for reader in self.readers:
            reader.check(self.server)
        assert self.wrong == []
        assert self.world.told("gap") == []
        ended = self.world.told("subscription_ended")
        assert {event.error.code for event in ended} <= {"CONFLICT"}
        assert self.world.told("unreadable_frame") == []
        assert self.world.told("orphan") == []
        statuses = ["disconnected", *self.world.statuses()]
        for one, other in itertools.pairwise(statuses):
            assert other in TRANSITIONS[one].values(), statuses  # type: ignore[index]
        assert self.client.get_connection_state().status == "connected"
        assert self.server.line is not None
        assert self.server.accepted >= statuses.count("connected")
        assert self.client.get_stats().waiting == 0
        cursor = self.client.get_cursor()
        assert cursor is not None
        assert [cursor.offsets[str(number)] for number in range(2)] == self.server.heads
        sent = [task.result() for task in self.publishing]
        assert len({message.id for message in sent}) == len(sent)


KINDS = st.sampled_from(("plain", "plain", "fails", "leaves", "comes back", "publishes"))
SLOW = st.sampled_from((0.0, 0.0, 0.02, 0.5, 3.0))
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("send"), st.sampled_from(TOPICS)),
    st.tuples(st.just("drop"), st.sampled_from((1006, 1001, 1011, 4409, 4410))),
    st.tuples(st.just("restart"), st.booleans(), st.booleans()),
    st.tuples(st.just("lost session"), st.sampled_from(TOPICS)),
    st.tuples(st.just("cut"), st.integers(0, 6)),
    st.tuples(st.just("cut next"), st.integers(0, 12)),
    st.just(("silence",)),
    st.tuples(st.just("subscribe"), st.sampled_from(PATTERNS), KINDS, SLOW),
    st.tuples(st.just("subscribe"), st.sampled_from(PATTERNS), KINDS, SLOW),
    st.tuples(st.just("since"), st.sampled_from(PATTERNS), SLOW),
    st.tuples(st.just("since and cut"), st.sampled_from(TOPICS), st.integers(1, 4)),
    st.tuples(st.just("unsubscribe"), st.integers(0, 5)),
)
PAUSES = st.sampled_from((0.0, 0.0, 0.001, 0.02, 0.1, 1.0, 40.0))


@settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(
    schedule=st.lists(st.tuples(STEPS, PAUSES), min_size=4, max_size=40),
    seed=st.integers(0, 2**32),
)
def test_each_handler_gets_each_message_once_in_order(
    schedule: list[tuple[Step, float]], seed: int
) -> None:
    note(f"seed {seed}, schedule {schedule}")

    @virtual
    async def play() -> None:
        await Run(seed).play(schedule)

    play()
