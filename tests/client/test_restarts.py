"""Random schedules with restarts: whatever a program, its options and its server go through, each
handler gets each message that it should; in one run of the program once, and in order."""

import asyncio
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from bellwether_client import Cursor, MemoryStorage, RetryConfig, SubscriptionOptions
from bellwether_client.messages import NotificationMessage
from bellwether_client.topics import matches, split
from tests.client.memory import Network
from tests.client.model_server import Logged, ModelServer
from tests.client.virtual import virtual
from tests.client.world import World

TOPICS = ("a.1", "a.2", "b.1")
ONLY: tuple[tuple[str, ...], ...] = (TOPICS, ("a.1", "b.1"), ("a.1", "a.2"))
QUIET = 60.0
"""Virtual seconds after the schedule, in which all that was missed comes."""

Step = tuple[Any, ...]


class Reader:
    """What one handler should see, and has handled, in all runs of the program.

    from_place: everything after it (by partition) is due; None until it is known.
    in_force: the topics that a server may let through at present: of each of these filters.
    """

    def __init__(self, topic: str, beginning: str, slow: float) -> None:
        self.topic = topic
        self.beginning = beginning
        self.slow = slow
        self.handled: set[tuple[int, int]] = set()
        self.from_place = [0, 0] if beginning == "since" else None
        self.in_force: list[tuple[str, ...]] = [ONLY[0]]
        self.due: list[Logged] = []

    def options(self) -> SubscriptionOptions:
        only = self.in_force[-1]
        return SubscriptionOptions(
            since=Cursor("x1", {}) if self.beginning == "since" else None,
            replay_missed=True if self.beginning == "missed" else None,
            server_filter=None if only == ONLY[0] else {"in": ["topic", list(only)]},
        )

    def filter(self, only: tuple[str, ...]) -> None:
        """Ask for these topics from now on."""
        self.in_force.append(only)
        self.due = [message for message in self.due if message.topic in only]

    def published(self, message: Logged) -> None:
        is_passed = all(message.topic in only for only in self.in_force)
        is_after = self.from_place and message.offset > self.from_place[message.partition]
        if is_passed and is_after and matches(split(self.topic), split(message.topic)):
            self.due.append(message)


class Life:
    """One run of the program."""

    def __init__(self, server: ModelServer, network: Network, storage: MemoryStorage) -> None:
        self.server = server
        self.storage = storage
        self.is_over = False
        self.tasks: list[asyncio.Task[None]] = []
        retries = RetryConfig(max_retries=0, initial_delay=30, max_delay=200, jitter=False)
        self.world = World(network, storage=storage, client_id="c", retry_config=retries)
        self.world.connecting()

    def attach(self, reader: Reader, after: float) -> None:
        """Subscribe a reader, in so many seconds."""
        self.tasks.append(asyncio.create_task(self._attach(reader, after)))

    async def _attach(self, reader: Reader, after: float) -> None:
        seen = [0, 0]

        async def handle(message: NotificationMessage[Any]) -> None:
            if self.is_over:
                return  # a process that has been killed does nothing
            assert message.position is not None
            partition, offset = message.position
            assert offset > seen[partition], f"{reader.topic}: {message.position} after {seen}"
            seen[partition] = offset
            await asyncio.sleep(reader.slow)
            if not self.is_over:
                reader.handled.add(message.position)

        if after:
            await asyncio.sleep(after)
        wanted = reader.in_force[-1]
        await self.world.client.subscribe(reader.topic, handle, reader.options()).ready()
        await asyncio.sleep(0.01)  # until this is kept
        if not after:  # who comes late, and is owed a replay, gets it with the next connection
            reader.in_force = [wanted]
        reader.from_place = reader.from_place or list(self.server.heads)

    async def end(self, *, is_killed: bool) -> MemoryStorage:
        """End it; returns what is left of it."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        left = self.storage
        if is_killed:
            self.is_over = True
            left = MemoryStorage()
            text = await self.storage.get("bellwether.c")
            if text is not None:
                await left.set("bellwether.c", text)
            self.server.drop()
        await self.world.__aexit__()
        self.is_over = True
        return left


class Run:
    """One schedule."""

    def __init__(self, seed: int, readers: list[Reader]) -> None:
        self.network = Network()
        self.server = ModelServer(self.network, Random(seed))
        self.server.published = self.published
        self.readers = readers
        self.failures: list[Exception] = []

    def published(self, message: Logged) -> None:
        for reader in self.readers:
            reader.published(message)

    def begin(self, storage: MemoryStorage, late: float) -> None:
        self.life = Life(self.server, self.network, storage)
        for reader in self.readers:
            self.life.attach(reader, late)

    async def do(self, step: Step) -> None:
        match step:
            case ("publish", topic):
                self.server.publish(topic)
            case ("drop",):
                self.server.drop()
            case ("server", keeps_session, keeps_subscriptions):
                self.server.restart(
                    keeps_session=keeps_session, keeps_subscriptions=keeps_subscriptions
                )
            case ("cut", frames):
                if self.server.line is not None:
                    self.server.line.frames_left = frames
            case ("again", is_killed, late, number, only):
                self.check_events()
                storage = await self.life.end(is_killed=is_killed)
                self.readers[number % len(self.readers)].filter(only)
                self.begin(storage, late)

    async def play(self, schedule: list[tuple[Step, float]]) -> None:
        serving = asyncio.create_task(self.server.serve())
        for topic in TOPICS:
            self.server.publish(topic)
        self.begin(MemoryStorage(), 0.0)
        for step, pause in schedule:
            await self.do(step)
            await asyncio.sleep(pause)
        if self.server.line is not None:
            self.server.line.frames_left = None
        await asyncio.sleep(QUIET)
        await asyncio.gather(*self.life.tasks)
        self.check_events()
        for reader in self.readers:
            due = {(message.partition, message.offset) for message in reader.due}
            assert due <= reader.handled, f"{reader.topic} missed {sorted(due - reader.handled)}"
        assert self.life.world.client.get_stats().waiting == 0
        await self.life.end(is_killed=False)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    def check_events(self) -> None:
        for kind in ("gap", "subscription_ended", "handler_error", "unreadable_frame"):
            assert self.life.world.told(kind) == []


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.tuples(st.just("publish"), st.sampled_from(TOPICS)),
    st.just(("drop",)),
    st.tuples(st.just("server"), st.booleans(), st.booleans()),
    st.tuples(st.just("cut"), st.integers(0, 6)),
    st.tuples(
        st.just("again"),
        st.booleans(),
        st.sampled_from((0.0, 0.0, 0.2, 2.0)),
        st.integers(0, 2),
        st.sampled_from(ONLY),
    ),
)
PAUSES = st.sampled_from((0.0, 0.0, 0.02, 0.1, 0.3, 1.0))
READERS = st.lists(
    st.tuples(
        st.sampled_from(("a.*", "*.1", "**", "a.1")),
        st.sampled_from(("plain", "since", "missed")),
        st.sampled_from((0.0, 0.0, 0.05, 0.5)),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda reader: reader[0],
)


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(
    readers=READERS,
    schedule=st.lists(st.tuples(STEPS, PAUSES), min_size=4, max_size=25),
    seed=st.integers(0, 2**32),
)
def test_each_handler_gets_each_message_whatever_restarts(
    readers: list[tuple[str, str, float]], schedule: list[tuple[Step, float]], seed: int
) -> None:
    note(f"seed {seed}, readers {readers}, schedule {schedule}")

    @virtual
    async def play() -> None:
        await Run(seed, [Reader(*reader) for reader in readers]).play(schedule)

    play()
