"""The hub over the real log and an in-process layer that it cannot trust."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from channels.layers import InMemoryChannelLayer
from django.db import OperationalError
from prometheus_client import REGISTRY

from notifications.bus import hints_of
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import Hub, Subscriber
from notifications.hub import follower as follower_module
from notifications.hub.buffer import Buffer
from notifications.hub.subscriber import Wish
from notifications.hub.wanted import Caps, Replay
from notifications.log.append import append
from notifications.log.creation import LogIdentity, read_identity
from notifications.log.ephemeral import make_ephemeral
from notifications.log.read import LogState, read_hole, read_state
from notifications.log.records import Record
from notifications.models import Log, Message, Partition, Topic
from notifications.recovery.cursor import Unrecovered
from notifications.topics.partitions import partition_of
from tests.records import publication, record

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = 30.0


class Peer:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.overflowed = False
        self.buffer = Buffer(100_000, wake=lambda within: self.news.set(), overflow=self._overflow)
        self.subscriber = Subscriber(self.buffer)
        self.received: list[dict[str, Any]] = []

    def _overflow(self) -> None:
        self.overflowed = True

    def take(self) -> list[Any]:
        while (frame := self.buffer.pop()) is not None:
            self.received.append(json.loads(frame.data))
        return [frame["payload"] for frame in self.received]

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(WAIT):
            while len(self.take()) < count:
                self.news.clear()
                await self.news.wait()
        return self.take()


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


class Net(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer whose deliveries a test decides on: `drop(message)` tells which are lost."""

    drop: Callable[[dict[str, Any]], bool] = staticmethod(lambda message: False)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if not self.drop(message):
            await super().group_send(group, message)


@pytest.fixture
def net() -> Net:
    return Net(capacity=10_000)


@pytest.fixture
async def hub(net: Net, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(follower_module, "GRACE", 0.001)
    identity: LogIdentity = await in_database(read_identity)
    hub = Hub(net, identity, on_control=lambda _: None, poll_interval=0.02)
    await hub.start()
    yield hub
    await hub.stop()


async def publish(hub: Hub, *topics: str) -> list[Record]:
    payloads = [publication(topic, f"{topic}#{n}") for n, topic in enumerate(topics)]
    _, records = await in_database(append, payloads)
    hub.relay(records)
    return records


async def subscribe(hub: Hub, peer: Peer, *patterns: str) -> None:
    await hub.follow(patterns)
    for pattern in patterns:
        hub.add(peer.subscriber, pattern, Wish(f"id of {pattern}"))


async def test_what_is_published_after_subscribing_arrives_once(hub: Hub) -> None:
    peer = Peer()
    await publish(hub, "a.b", "a.b")
    await subscribe(hub, peer, "a.*", "a.b", "**")
    await publish(hub, "a.b", "c.d", "a.e")
    assert await peer.until(3) == ["a.b#0", "c.d#1", "a.e#2"]


async def test_ephemeral_messages_come_without_a_place_and_move_none(hub: Hub) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.*")
    before = hub.cursor_at(hub.offsets())
    passing = publication("a.b", "passing", ephemeral=True)
    hub.relay(make_ephemeral([passing, msgspec.structs.replace(passing, expires_at=1)])[1])
    assert await peer.until(1) == ["passing"]
    await publish(hub, "a.b")
    assert await peer.until(2) == ["passing", "a.b#0"], "the expired one is left out"
    assert not {"seq", "position"} & set(peer.received[0])
    assert peer.received[1]["seq"] == 1
    partition = str(passing.partition)
    assert hub.cursor_at(hub.offsets()).offsets[partition] == before.offsets[partition] + 1


async def test_lost_hints_are_read_from_the_log(hub: Hub, net: Net) -> None:
    sent: list[int] = []

    def every_third(message: dict[str, Any]) -> bool:
        sent.append(1)
        return len(sent) % 3 == 0

    net.drop = every_third
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    for _ in range(20):
        await publish(hub, "a.b")
    await peer.until(20)
    assert [frame["seq"] for frame in peer.received] == list(range(1, 21))


@pytest.mark.parametrize("epoch", ["another", "this"])
async def test_a_hint_from_beyond_the_log_moves_nothing(hub: Hub, net: Net, epoch: str) -> None:
    """It may be of a past life of the log, or of another deployment on the same Redis."""
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    (first,) = await publish(hub, "a.b")
    await peer.until(1)
    before = metric("bellwether_hints_foreign_total")
    foreign = [record(offset, partition=first.partition, topic="a.b") for offset in (50, 51)]
    told = hub.identity.epoch if epoch == "this" else epoch
    if epoch == "another":
        foreign.insert(0, record(2, partition=first.partition, topic="a.b"))
    for one in foreign:
        hub.bus.announce(hints_of([one], epoch=told))
    async with asyncio.timeout(WAIT):
        while metric("bellwether_hints_foreign_total") == before:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # some looks
    assert hub.offsets()[first.partition] == 1
    await publish(hub, *["a.b"] * 5)
    await peer.until(6)
    assert [frame["position"][1] for frame in peer.received] == [1, 2, 3, 4, 5, 6]


async def test_what_no_hint_announces_is_found_by_looking(hub: Hub, net: Net) -> None:
    net.drop = lambda _: True
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    await publish(hub, "a.b")
    assert await peer.until(1) == ["a.b#0"]


async def test_looking_goes_on_after_a_look_that_failed(
    hub: Hub, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.drop = lambda _: True
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    failed = asyncio.Event()

    def fail(state: LogState) -> None:
        failed.set()
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "learn", fail)
        async with asyncio.timeout(WAIT):
            await failed.wait()
    await publish(hub, "a.b")
    assert await peer.until(1) == ["a.b#0"]


async def test_repeated_and_disordered_hints_change_nothing(hub: Hub) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    _, records = await in_database(append, [publication("a.b", n) for n in range(5)])
    for order in ([3, 4], [0], [0], [1, 2], [3, 4], [0, 1, 2, 3, 4]):
        hub.relay([records[index] for index in order])
    assert await peer.until(5) == [0, 1, 2, 3, 4]
    await asyncio.sleep(0.05)
    assert peer.take() == [0, 1, 2, 3, 4]


async def test_more_than_one_chunk_is_read_to_the_end(
    hub: Hub, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "CHUNK", 500)
    net.drop = lambda _: True
    peer = Peer()
    peer.buffer._bound = 10_000_000
    await subscribe(hub, peer, "a.b")
    await in_database(append, [publication("a.b", n) for n in range(1234)])
    assert await peer.until(1234) == list(range(1234))


async def test_the_cursor_is_where_a_subscription_begins(hub: Hub) -> None:
    peer = Peer()
    records = await publish(hub, "a.b", "a.b")
    await subscribe(hub, peer, "a.b")
    partition = str(records[0].partition)
    assert hub.cursor(peer.subscriber).offsets[partition] == 2
    assert len(hub.cursor_at(hub.offsets()).offsets) == 16
    assert hub.moved(peer.subscriber).offsets == {}
    await publish(hub, "a.b")
    await peer.until(1)
    assert hub.moved(peer.subscriber).offsets == {partition: 3}
    assert hub.moved(peer.subscriber).offsets == {}


async def test_while_a_connection_is_detached_nothing_has_moved(hub: Hub) -> None:
    peer, other = Peer(), Peer()
    await subscribe(hub, peer, "a.b")
    await subscribe(hub, other, "a.b")
    hub.cursor(peer.subscriber)
    hub.detach(peer.subscriber)
    (record,) = await publish(hub, "a.b")
    await other.until(1)
    assert hub.moved(peer.subscriber).offsets == {}
    assert peer.take() == []
    await hub.attach(peer.subscriber)
    assert hub.moved(peer.subscriber).offsets == {str(record.partition): 1}
    assert peer.take() == ["a.b#0"]


async def test_a_message_for_nobody_only_moves_the_place(hub: Hub) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b.c")
    hub.cursor(peer.subscriber)
    records = await publish(hub, "a.b.d", "a.b.c")
    assert await peer.until(1) == ["a.b.c#1"]
    assert hub.moved(peer.subscriber).offsets == {str(records[0].partition): 2}


async def test_an_expired_message_is_not_delivered(hub: Hub) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    _, records = await in_database(
        append, [publication("a.b", "late", expires_at=1), publication("a.b", "in time")]
    )
    hub.relay(records)
    assert await peer.until(1) == ["in time"]


async def test_forgetting_a_connection_leaves_nothing_behind(hub: Hub) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b", "a.*", "**")
    assert len(hub.index) == 3
    hub.forget(peer.subscriber)
    assert (len(hub.index), hub.index.nodes) == (0, 0)
    await publish(hub, "a.b")
    await asyncio.sleep(0.05)
    assert peer.take() == []


async def test_a_partition_that_nobody_needs_is_left_after_a_while(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "LINGER", 0.0)
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    hub.forget(peer.subscriber)
    async with asyncio.timeout(WAIT):
        while hub._places:
            await asyncio.sleep(0.01)
    await publish(hub, "a.b")
    again = Peer()
    await subscribe(hub, again, "a.b")
    await publish(hub, "a.b")
    assert await again.until(1) == ["a.b#0"]
    assert again.received[0]["seq"] == 2


async def test_forgetting_a_connection_twice_takes_nothing_from_others(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that closes during a subscribe is forgotten by both."""
    monkeypatch.setattr(follower_module, "LINGER", 0.0)
    gone, stays = Peer(), Peer()
    await subscribe(hub, gone, "a.b")
    await subscribe(hub, stays, "a.b")
    hub.forget(gone.subscriber)
    gone.subscriber.wishes["a.b"] = Wish("written when it was too late")
    hub.forget(gone.subscriber)
    await asyncio.sleep(0.1)  # some looks, any of which would leave a partition nobody needs
    await publish(hub, "a.b")
    assert await stays.until(1) == ["a.b#0"]
    assert gone.take() == []


async def test_a_head_that_another_look_found_first_is_not_delivered_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was told a cursor gets nothing at or before it."""
    records = await publish(hub, "a.b", "a.b", "a.b")
    partition = records[0].partition
    async with asyncio.timeout(WAIT):
        while hub._heads[partition] < 3:
            await asyncio.sleep(0.01)
    heads = tuple(int(number == partition) for number in range(len(hub.heads())))
    old = LogState(hub.identity.epoch, heads, (0,) * len(heads))
    monkeypatch.setattr(follower_module, "read_state", lambda: old)  # slow, so old
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    assert hub.cursor(peer.subscriber).offsets[str(partition)] == 3
    monkeypatch.setattr(follower_module, "read_state", read_state)
    await publish(hub, "a.b")
    assert await peer.until(1) == ["a.b#0"]
    assert peer.received[0]["seq"] == 4


async def test_while_the_log_cannot_be_read_following_fails_and_delivery_waits(
    hub: Hub, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b")

    def away() -> LogState:
        raise OperationalError("away")

    monkeypatch.setattr(follower_module, "read_state", away)
    with pytest.raises(Unavailable):
        await hub.follow(["x.y"])
    net.drop = lambda _: True
    await publish(hub, "a.b")
    async with asyncio.timeout(WAIT):
        while hub.log_reachable:
            await asyncio.sleep(0.01)
    assert peer.take() == []
    monkeypatch.setattr(follower_module, "read_state", read_state)
    assert await peer.until(1) == ["a.b#0"]
    await subscribe(hub, peer, "x.y")


async def test_a_slow_connection_harms_nobody_else(hub: Hub) -> None:
    slow, quick = Peer(), Peer()
    slow.buffer._bound = 300
    await subscribe(hub, slow, "a.b")
    await subscribe(hub, quick, "a.b")
    for _ in range(5):
        await publish(hub, "a.b")
        await quick.until(1)
    assert len(await quick.until(5)) == 5
    assert slow.overflowed
    assert len(slow.buffer) == 0


async def test_what_came_while_detached_follows_in_order(hub: Hub) -> None:
    """Out of the log, whatever the hints did; by then also what a new subscription wants."""
    peer, other = Peer(), Peer()
    await subscribe(hub, peer, "a.b.x")
    await subscribe(hub, other, "a.b.*")
    hub.detach(peer.subscriber)
    await publish(hub, "a.b.x", "a.b.y", "a.b.x")
    await other.until(3)
    begin = hub.detach(peer.subscriber)
    hub.add(peer.subscriber, "a.b.y", Wish("later", begin=begin))
    await publish(hub, "a.b.y", "a.b.x")
    await other.until(5)
    await hub.attach(peer.subscriber)
    assert peer.take() == [], "something else keeps it off the live stream still"
    await hub.attach(peer.subscriber)
    await publish(hub, "a.b.x")
    expected = ["a.b.x#0", "a.b.x#2", "a.b.y#0", "a.b.x#1", "a.b.x#0"]
    assert await peer.until(5) == expected
    assert [frame["position"][1] for frame in peer.received] == [1, 3, 4, 5, 6]


async def test_a_partition_that_concerns_a_connection_only_while_it_is_detached_is_brought_too(
    hub: Hub,
) -> None:
    """What a new subscription wants may lie in a partition that was no business of it before."""
    peer, other = Peer(), Peer()
    await subscribe(hub, peer, "a.b.x")
    await subscribe(hub, other, "c.d.x")
    begin = hub.detach(peer.subscriber)
    (record,) = await publish(hub, "c.d.x")
    assert record.partition != partition_of("a.b", len(begin))
    await other.until(1)
    hub.add(peer.subscriber, "c.d.x", Wish("later", begin=begin))
    await hub.attach(peer.subscriber)
    assert peer.take() == ["c.d.x#0"]


async def test_a_subscription_that_is_made_during_a_catch_up_misses_nothing(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins where the hub stands when it is asked for, and is in force a little later."""
    peer, other = Peer(), Peer()
    await subscribe(hub, peer, "a.b.x")
    await subscribe(hub, other, "a.b.*")
    hub.detach(peer.subscriber)
    await publish(hub, "a.b.x")
    await other.until(1)
    feed, asked, written = hub.feeder._feed, asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any) -> Any:
        asked.set()
        await written.wait()
        return await feed(*arguments)

    monkeypatch.setattr(hub.feeder, "_feed", slowly)
    attaching = asyncio.create_task(hub.attach(peer.subscriber))
    await asked.wait()
    begin = hub.detach(peer.subscriber)
    await publish(hub, "a.b.y", "a.b.x")
    await other.until(3)
    written.set()
    async with asyncio.timeout(WAIT):
        await attaching
    hub.add(peer.subscriber, "a.b.y", Wish("later", begin=begin))
    await hub.attach(peer.subscriber)
    assert await peer.until(3) == ["a.b.x#0", "a.b.y#0", "a.b.x#1"]


async def test_a_hub_that_is_behind_comes_as_far_as_a_client_was(hub: Hub, net: Net) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    net.drop = lambda _: True
    hub._poll_interval = 1_000
    await publish(hub, "a.b", "a.b")
    state = await in_database(read_state)
    await hub.reach(state)
    assert hub.offsets() == state.heads
    assert peer.take() == ["a.b#0", "a.b#1"]


async def test_a_hub_that_cannot_catch_up_in_time_says_so(
    hub: Hub, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    await subscribe(hub, peer, "a.b")
    net.drop = lambda _: True
    hub._poll_interval = 1_000
    await publish(hub, "a.b")
    go_on = threading.Event()

    def slowly(*arguments: int) -> Any:
        assert go_on.wait(WAIT)
        return read_hole(*arguments)

    monkeypatch.setattr(follower_module, "read_hole", slowly)
    monkeypatch.setattr(follower_module, "REACH_DEADLINE", 0.05)
    with pytest.raises(Unavailable):
        await hub.reach(await in_database(read_state))
    assert peer.take() == [], "the read goes on meanwhile"
    go_on.set()
    assert await peer.until(1) == ["a.b#0"]


async def test_what_was_purged_before_it_was_delivered_is_told(
    hub: Hub, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps: list[tuple[str | None, str]] = []
    peer, other = Peer(), Peer()
    peer.subscriber.tell_gap = lambda topic, reason: gaps.append((topic, str(reason)))
    other.subscriber.tell_gap = lambda topic, reason: gaps.append((topic, "not for it"))
    await subscribe(hub, peer, "a.b.*")
    await subscribe(hub, other, "a.b.other")
    net.drop = lambda _: True
    _, records = await in_database(append, [publication("a.b.c", 0)])
    partition = records[0].partition
    await peer.until(1)

    def publish_and_purge() -> None:
        append([publication("a.b.c", 1), publication("a.b.c", 2)])
        Topic.objects.filter(name="a.b.c").update(floor=2)
        Partition.objects.filter(pk=partition).update(floor=2)
        Message.objects.filter(offset=2, partition=partition).delete()

    with monkeypatch.context() as patch:
        patch.setattr(hub, "look", lambda: asyncio.sleep(0))  # nobody looks in between
        await in_database(publish_and_purge)
        hub._fill_soon(partition)
        hub._heads[partition] = 3
        assert await peer.until(2) == [0, 2]
        assert gaps == [("a.b.c", "BEYOND_RETENTION")]
        # What came that way is in the cache for replays, and they must not take it for whole.
        assert hub.floors[partition] == 2
        for floors in (hub.floors, (0,) * len(hub.floors)):
            asked = Replay(
                after=(0,) * len(floors), through=hub.offsets(), floors=floors, caps=Caps(100)
            )
            outcome = await hub.feeder.replay(peer.subscriber, asked)
            assert (outcome, asked.count) == (Unrecovered.BEYOND_RETENTION, 0)


async def test_a_new_epoch_begins_at_the_heads_that_are_there(hub: Hub, net: Net) -> None:
    gaps: list[tuple[str | None, str]] = []
    peer, fed = Peer(), Peer()
    for one in (peer, fed):
        await subscribe(hub, one, "a.b")
        hub.register(one.subscriber)
    lost: list[str] = []
    peer.subscriber.tell_gap = lambda topic, reason: gaps.append((topic, str(reason)))
    fed.subscriber.lost = lambda: lost.append("lost")
    hub.detach(fed.subscriber)
    await publish(hub, "a.b", "a.b")
    await peer.until(2)

    def restore() -> None:
        Message.objects.all().delete()
        Topic.objects.all().update(seq=0)
        Partition.objects.all().update(head=0)
        Log.objects.update(epoch="xnew")

    await in_database(restore)
    async with asyncio.timeout(WAIT):
        while hub.identity.epoch != "xnew":
            await asyncio.sleep(0.01)
    assert (gaps, lost) == ([(None, "EPOCH_CHANGED")], ["lost"])
    await publish(hub, "a.b")
    await peer.until(3)
    assert peer.received[-1]["seq"] == 1


async def test_a_partition_that_is_being_opened_while_the_epoch_changes_is_opened(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined, go_on = asyncio.Event(), asyncio.Event()
    follow = hub.bus.follow

    async def slow_follow(partition: int) -> None:
        await follow(partition)
        joined.set()
        await go_on.wait()

    monkeypatch.setattr(hub.bus, "follow", slow_follow)
    peer = Peer()
    subscribing = asyncio.create_task(subscribe(hub, peer, "a.b"))
    async with asyncio.timeout(WAIT):
        await joined.wait()
        await in_database(Log.objects.update, epoch="xnew")
        while hub.identity.epoch != "xnew":
            await asyncio.sleep(0.01)
        go_on.set()
        await subscribing
    await publish(hub, "a.b")
    assert await peer.until(1) == ["a.b#0"]
