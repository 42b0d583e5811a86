"""Replays over the real log: whole or nothing, however they are read."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from notifications.database import in_database
from notifications.hub import replay as replay_module
from notifications.hub import survey as survey_module
from notifications.hub.buffer import Buffer
from notifications.hub.pages import Pages
from notifications.hub.replay import Feeder, LostPlaceError, StoppedError
from notifications.hub.subscriber import Subscriber, Wish
from notifications.hub.turns import Turns
from notifications.hub.wanted import Caps, Replay
from notifications.log import read as read_module
from notifications.log.append import append
from notifications.log.headlines import read_headlines
from notifications.log.read import LogState, Reading, read_range, read_state
from notifications.log.records import Record
from notifications.models import Message, Partition, Topic
from notifications.recovery.cursor import Offsets, Unrecovered
from notifications.recovery.splice import Splice
from notifications.topics.partitions import partition_of
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 16
ZERO: Offsets = (0,) * COUNT
WAIT = 10.0
USER_1 = partition_of("user.1", COUNT)
NEIGHBOUR = next(f"user.{n}" for n in range(2, 1000) if partition_of(f"user.{n}", COUNT) == USER_1)
"""Another's topics, in the same partition."""


class Peer:
    """A connection that keeps what it is given, and wants what it was told to."""

    def __init__(self, *patterns: str, bound: int = 10**8) -> None:
        self.overflowed = False
        self.buffer = Buffer(bound, wake=lambda within: None, overflow=self._overflow)
        self.subscriber = Subscriber(self.buffer)
        self.received: list[dict[str, Any]] = []
        for pattern in patterns:
            self.want(pattern)

    def _overflow(self) -> None:
        self.overflowed = True

    def want(self, pattern: str, **more: Any) -> None:
        self.subscriber.wishes[pattern] = Wish(f"id of {pattern}", **more)
        self.subscriber.version += 1

    def unwant(self, pattern: str) -> None:
        del self.subscriber.wishes[pattern]
        self.subscriber.version += 1

    def take(self) -> list[Any]:
        while (frame := self.buffer.pop()) is not None:
            self.received.append(json.loads(frame.data))
        return [frame["payload"] for frame in self.received]

    async def until_stuck(self) -> None:
        """Wait until what feeds it waits for room."""
        async with asyncio.timeout(WAIT):
            while self.buffer.has_room:
                await asyncio.sleep(0.001)


class Log:
    """The log of the test database, and a feeder on it that counts its reads."""

    def __init__(self) -> None:
        self.heads: Offsets = ZERO
        self.reads = 0
        self.feeder = Feeder(Pages(10**9, self._read), Turns(), COUNT, heads=lambda: self.heads)

    async def _read(self, partition: int, after: int, through: int) -> Reading:
        self.reads += 1
        return await in_database(read_range, partition, after, through)

    async def publish(self, *topics: str, **more: Any) -> list[Record]:
        """Publish a message to each topic; its payload is its topic."""
        _, records = await in_database(append, [publication(one, one, **more) for one in topics])
        self.heads = (await in_database(read_state)).heads
        return records

    async def replay(
        self,
        peer: Peer,
        *,
        after: Offsets = ZERO,
        floors: Offsets | None = None,
        caps: Caps | None = None,
        **more: Any,
    ) -> tuple[Unrecovered | None, int]:
        """Replay to a peer; return the reason why not, and the count."""
        state: LogState = await in_database(read_state)
        replay = Replay(
            after=after,
            through=state.heads,
            floors=state.floors if floors is None else floors,
            caps=caps or Caps(10_000),
            **more,
        )
        async with asyncio.timeout(WAIT * 3):
            outcome = await self.feeder.replay(peer.subscriber, replay)
        return outcome, replay.count


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture(params=["shared", "narrow", "wide"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have a partition read in each of the ways there are."""
    if request.param != "shared":
        for module in (replay_module, survey_module):
            monkeypatch.setattr(module, "SHARED_SPAN", -1)
    if request.param == "wide":
        monkeypatch.setattr(read_module, "TOPICS_BOUND", 0)
    return str(request.param)


def purge(topic: str, through: int, *, partition: int = USER_1) -> None:
    """Purge a topic's messages as retention does: the floors first."""
    Topic.objects.filter(name=topic).update(floor=through)
    Partition.objects.filter(pk=partition, floor__lt=through).update(floor=through)
    Message.objects.filter(topic__name=topic, offset__lte=through).delete()


def place(offset: int, partition: int = USER_1) -> Offsets:
    return tuple(offset if number == partition else 0 for number in range(COUNT))


# --- What is brought ------------------------------------------------------------------------------


async def test_all_ways_of_reading_bring_the_same(
    log: Log, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[str] = []

    def watched(*arguments: Any, topics: Any, **more: Any) -> Any:
        ways.append("wide" if topics is None else "narrow")
        return read_headlines(*arguments, topics=topics, **more)

    monkeypatch.setattr(survey_module, "read_headlines", watched)
    topics = ["user.1.a", f"{NEIGHBOUR}.a", "user.1.b", "user.1", "user.1.a.deep", "other.x"]
    records = await log.publish(*(topics[n % len(topics)] for n in range(1800)))
    peer = Peer("user.1.*")
    peer.want("user.1", max_age=10**9)
    outcome, count = await log.replay(peer)
    wanted = [r for r in records if r.topic in ("user.1.a", "user.1.b", "user.1")]
    assert peer.take() == [record.topic for record in wanted]
    assert (outcome, count) == (None, len(wanted))
    assert [f["position"] for f in peer.received] == [[r.partition, r.offset] for r in wanted]
    assert all(frame["replayed"] is True for frame in peer.received)
    assert set(ways) == (set() if way == "shared" else {way})
    assert (log.reads > 0) == (way == "shared")
    # From a place in the middle of a page.
    peer = Peer("user.1.*", "user.1")
    _, count = await log.replay(peer, after=place(777))
    assert count == len([record for record in wanted if record.offset > 777])


async def test_many_who_missed_the_same_read_it_once(log: Log) -> None:
    await log.publish(*(f"user.1.t{n % 50}" for n in range(1000)))
    peers = [Peer(f"user.1.t{n % 50}") for n in range(100)]
    outcomes = await asyncio.gather(*(log.replay(peer) for peer in peers))
    assert outcomes == [(None, 20)] * 100
    assert log.reads == 2, "one for each page"


async def test_partitions_come_in_order_and_each_message_once(log: Log) -> None:
    topics = [f"user.{n % 40}.a" for n in range(400)]
    records = await log.publish(*topics)
    peer = Peer("user.**", "user.*.a", "user.1.a")
    assert await log.replay(peer) == (None, 400)
    peer.take()
    places = [tuple(frame["position"]) for frame in peer.received]
    assert places == sorted((record.partition, record.offset) for record in records)


async def test_only_what_lies_through_the_splice_is_brought(log: Log) -> None:
    await log.publish("user.1.a", "user.1.a")
    peer = Peer("user.1.*")
    replay = Replay(after=place(1), through=log.heads, floors=ZERO, caps=Caps(100))
    await log.publish("user.1.b")
    assert await log.feeder.replay(peer.subscriber, replay) is None
    assert peer.take() == ["user.1.a"]


async def test_topics_made_while_away_are_brought(log: Log, way: str) -> None:
    await log.publish("user.1.a")
    before = log.heads
    await log.publish("user.1.new", "user.1.a", "user.1.newer")
    peer = Peer("user.1.*")
    assert await log.replay(peer, after=before) == (None, 3)
    assert peer.take() == ["user.1.new", "user.1.a", "user.1.newer"]


async def test_each_subscription_begins_where_it_began(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b", "user.1.a", "user.1.b")
    peer = Peer()
    peer.want("user.1.a", begin=place(1))
    peer.want("user.1.b", begin=place(2))
    await log.replay(peer)
    assert peer.take() == ["user.1.a", "user.1.b"]
    assert [frame["position"][1] for frame in peer.received] == [3, 4]
    # A replay by `since` goes back behind that, for the one that asked.
    peer = Peer()
    peer.want("user.1.a", begin=place(4))
    peer.want("user.1.b", begin=place(4))
    assert await log.replay(peer, only="user.1.a", ignore_begin=True) == (None, 2)
    assert peer.take() == ["user.1.a", "user.1.a"]


async def test_what_is_too_old_for_a_subscription_is_left_out(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.a", "user.1.b")
    old = Message.objects.filter(offset__in=(1, 3), partition_id=USER_1)
    await in_database(old.update, published_at=F("published_at") - timedelta(hours=1))
    young = Peer()
    young.want("user.1.*", max_age=60_000)
    assert await log.replay(young) == (None, 1)
    # Another subscription that wants the same message whatever its age brings it.
    both = Peer()
    both.want("user.1.*", max_age=60_000)
    both.want("user.1.b")
    assert await log.replay(both) == (None, 2)
    assert both.take() == ["user.1.a", "user.1.b"]
    # The replay's own age counts for all.
    assert await log.replay(Peer("user.1.*"), max_age=60_000) == (None, 1)
    assert await log.replay(Peer("user.1.*"), max_age=7_200_000) == (None, 3)


async def test_who_wants_nothing_missed_gets_nothing_after_a_resume(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b")
    peer = Peer()
    peer.want("user.1.a", missed=False)
    peer.want("user.1.*", missed=False)
    assert await log.replay(peer, after_resume=True) == (None, 0)
    peer.want("user.1.b")
    assert await log.replay(peer, after_resume=True) == (None, 1)
    assert peer.take() == ["user.1.b"]
    assert await log.replay(peer) == (None, 2), "what was asked for is another matter"


async def test_expired_messages_are_left_out_and_do_not_count(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b", expires_at=1)
    await log.publish("user.1.a")
    peer = Peer("user.1.*")
    assert await log.replay(peer, caps=Caps(1)) == (None, 1)
    assert peer.received == []
    assert peer.take() == ["user.1.a"]


async def test_what_is_not_permitted_is_left_out(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.secret")
    peer = Peer("user.1.*")
    outcome = await log.replay(peer, caps=Caps(1), permitted=lambda topic: "secret" not in topic)
    assert outcome == (None, 1)
    assert peer.take() == ["user.1.a"]


# --- Whole or nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["user.1.*", "user.*.a", "user.**"])
async def test_more_than_the_cap_brings_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr(survey_module, "HEADLINES", 4)  # so that it takes several looks
    await log.publish(*["other.x", "user.1.a"] * 15)
    peer = Peer(pattern)
    assert await log.replay(peer, caps=Caps(14)) == (Unrecovered.TOO_MANY, 0)
    assert peer.take() == []
    assert await log.replay(peer, caps=Caps(15)) == (None, 15)


async def test_others_messages_do_not_count(log: Log) -> None:
    await log.publish(*[f"{NEIGHBOUR}.a"] * 20, "user.1.a", "user.1.b")
    assert await log.replay(Peer("user.1.*"), caps=Caps(2)) == (None, 2)
    assert await log.replay(Peer("user.1.*"), caps=Caps(1)) == (Unrecovered.TOO_MANY, 0)


async def test_a_policy_caps_its_own_topics_together(log: Log) -> None:
    await log.publish(*["user.1.a", "user.1.b", "user.1.c"] * 2)

    def of(topic: str) -> tuple[str, int] | None:
        return None if topic == "user.1.c" else ("user.1.*", limit)

    limit = 4
    assert await log.replay(Peer("user.1.*"), caps=Caps(100, of)) == (None, 6)
    limit = 3
    assert await log.replay(Peer("user.1.*"), caps=Caps(100, of)) == (Unrecovered.TOO_MANY, 0)
    assert await log.replay(Peer("user.1.a", "user.1.c"), caps=Caps(100, of)) == (None, 4)
    assert await log.replay(Peer("user.1.c"), caps=Caps(1, of)) == (Unrecovered.TOO_MANY, 0)


async def test_what_was_purged_matters_to_who_wanted_it(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b", "user.1.a", "user.1.b", f"{NEIGHBOUR}.a")
    await in_database(purge, "user.1.a", 3)
    lost = (Unrecovered.BEYOND_RETENTION, 0)
    peer = Peer("user.1.*")
    assert await log.replay(peer) == lost
    assert peer.take() == []
    assert await log.replay(Peer("user.**")) == lost
    assert await log.replay(Peer("user.1.a"), after=place(2)) == lost
    # Who has come so far has missed nothing, and neither has who wants other topics.
    assert await log.replay(Peer("user.1.*"), after=place(3)) == (None, 1)
    assert await log.replay(Peer("user.1.b")) == (None, 2)
    assert await log.replay(Peer(f"{NEIGHBOUR}.*")) == (None, 1)
    # Nor has a subscription that began behind it, or wants nothing missed.
    late = Peer("user.1.b")
    late.want("user.1.a", begin=place(3))
    assert await log.replay(late) == (None, 2)
    careless = Peer("user.1.b")
    careless.want("user.1.a", missed=False)
    assert await log.replay(careless, after_resume=True) == (None, 2)
    asked = Peer("user.1.b")
    asked.want("user.1.a", begin=place(3))
    assert await log.replay(asked, only="user.1.a", ignore_begin=True) == lost


async def test_many_purged_topics_of_another_subscription_do_not_matter(log: Log) -> None:
    topics = [f"user.1.t{n}" for n in range(120)]
    await log.publish(*topics, "user.1.mine")
    for number, topic in enumerate(topics):
        await in_database(purge, topic, number + 1)
    peer = Peer("user.1.mine")
    peer.want("user.1.*", begin=place(120), missed=False)
    assert await log.replay(peer, only="user.1.mine") == (None, 1)
    assert await log.replay(peer, after_resume=True) == (None, 1)
    assert await log.replay(Peer("user.1.*")) == (Unrecovered.BEYOND_RETENTION, 0)


async def test_a_purge_that_the_floors_do_not_know_of_yet_is_told(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b", "user.1.a", "user.1.b")
    await in_database(purge, "user.1.a", 3)
    # The floors are those that were known before the purge.
    lost = (Unrecovered.BEYOND_RETENTION, 0)
    assert await log.replay(Peer("user.1.*"), floors=ZERO) == lost
    assert await log.replay(Peer("user.1.b"), floors=ZERO) == (None, 2)


async def test_a_purge_while_it_goes_out_closes(log: Log, way: str) -> None:
    """The client has had some of it, so it can only be told when it resumes."""
    await log.publish("user.1.b", "user.2.a", "user.2.b")
    later = partition_of("user.2.a", COUNT)
    assert later > USER_1, "partitions go out in order"
    await in_database(purge, "user.2.a", 1, partition=later)
    peer = Peer("user.1.*", "user.2.*")
    with pytest.raises(LostPlaceError):
        await log.replay(peer, floors=ZERO)
    assert peer.take() == ["user.1.b"]


# --- While it goes out ----------------------------------------------------------------------------


async def test_what_is_unsubscribed_meanwhile_is_not_sent_any_more(log: Log, way: str) -> None:
    await log.publish(*["user.1.a", "user.1.b"] * 300)
    peer = Peer("user.1.a", "user.1.b", bound=20_000)
    going = asyncio.create_task(log.replay(peer))
    await peer.until_stuck()
    peer.unwant("user.1.a")
    before = peer.take().count("user.1.a")
    while not going.done():
        peer.take()
        await asyncio.sleep(0)
    outcome, count = await going
    received = peer.take()
    assert received.count("user.1.b") == 300
    assert 0 < received.count("user.1.a") == before < 300
    assert (outcome, count) == (None, len(received))


async def test_a_peer_that_never_makes_room_is_too_slow(
    log: Log, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "ROOM_DEADLINE", 0.05)
    await log.publish(*["user.1.a"] * 600)
    peer = Peer("user.1.a", bound=20_000)
    with pytest.raises(StoppedError):
        await log.replay(peer)
    assert peer.overflowed
    assert (peer.buffer.size, peer.take()) == (0, [])


async def test_a_closed_connection_stops_it(log: Log, way: str) -> None:
    await log.publish(*["user.1.a"] * 600)
    peer = Peer("user.1.a", bound=20_000)
    going = asyncio.create_task(log.replay(peer))
    await peer.until_stuck()
    peer.subscriber.close()
    peer.take()
    with pytest.raises(StoppedError):
        await going
    assert len(peer.take()) < 600


# --- Back to the live stream ----------------------------------------------------------------------


async def test_catching_up_ends_level_with_the_hub_and_flags_nothing(log: Log, way: str) -> None:
    await log.publish(*["user.1.a"] * 3, f"{NEIGHBOUR}.a")
    peer = Peer("user.1.*")
    peer.subscriber.splice = Splice(place(1), [USER_1])
    moved: list[Offsets] = []

    def level() -> Offsets:
        moved.append(log.heads)
        return log.heads

    await log.feeder.catch_up(peer.subscriber, level)
    assert peer.take() == ["user.1.a", "user.1.a"]
    assert not any("replayed" in frame for frame in peer.received)
    assert peer.subscriber.splice.place[USER_1] == log.heads[USER_1]
    await log.publish("user.1.b")
    await log.feeder.catch_up(peer.subscriber, level)
    assert peer.take()[2:] == ["user.1.b"]
    assert len(moved) >= 4, "it asks again after each piece"


async def test_catching_up_over_a_purge_is_told(log: Log, way: str) -> None:
    await log.publish("user.1.a", "user.1.b", "user.1.b")
    await in_database(purge, "user.1.a", 1)
    peer = Peer("user.1.*")
    peer.subscriber.splice = Splice(ZERO, [USER_1])
    with pytest.raises(LostPlaceError):
        await log.feeder.catch_up(peer.subscriber, lambda: log.heads)
    peer = Peer("user.1.b")
    peer.subscriber.splice = Splice(ZERO, [USER_1])
    await log.feeder.catch_up(peer.subscriber, lambda: log.heads)
    assert peer.take() == ["user.1.b", "user.1.b"]
