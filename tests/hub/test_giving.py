"""Messages given once more, beside what is delivered live."""

import asyncio
from typing import Any

import pytest

from notifications.hub import giving as giving_module
from notifications.hub import replay as replay_module
from notifications.hub.giving import Giver
from notifications.hub.pages import Kept
from notifications.recovery.cursor import Offsets
from notifications.recovery.splice import Splice
from tests.hub.test_replay import COUNT, WAIT, Log, Peer, place
from tests.records import record

FAR: Offsets = (1_000_000,) * COUNT


def message(offset: int, topic: str = "user.1.a", **more: Any) -> Kept:
    return Kept(record(offset, topic=topic, payload=b'"%s"' % topic.encode(), **more))


async def test_what_is_still_wanted_is_given() -> None:
    messages = [message(1), message(2, "user.1.b"), message(3, expires_at=1)]
    peer = Peer("user.1.a")
    assert await Giver(lambda: FAR).give(peer.subscriber, messages) == 1
    assert peer.take() == ["user.1.a"]
    assert peer.received[0]["replayed"] is True
    peer.subscriber.close()
    assert await Giver(lambda: FAR).give(peer.subscriber, messages) == 0


async def test_what_has_not_come_live_yet_is_left_to_live_delivery() -> None:
    """Else its client, whose cursor moves with it, would drop what lies between as known."""
    peer = Peer("user.1.a")
    giver = Giver(lambda: place(2, partition=0))
    assert await giver.give(peer.subscriber, [message(1), message(2), message(4)]) == 2
    peer.take()
    assert [frame["position"] for frame in peer.received] == [[0, 1], [0, 2]]


async def test_nothing_is_given_in_the_middle_of_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_module, "DETACHED_PAUSE", 0.001)
    peer = Peer("user.1.a", bound=2_000)
    giving = asyncio.create_task(
        Giver(lambda: FAR).give(peer.subscriber, [message(n) for n in range(1, 51)])
    )
    await peer.until_stuck()
    before = len(peer.take())
    peer.subscriber.splice = Splice(place(0), [])
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert len(peer.take()) == before < 50
    peer.subscriber.splice = None
    async with asyncio.timeout(WAIT):
        while not giving.done():
            peer.take()
            await asyncio.sleep(0.001)
    assert len(peer.take()) == giving.result() == 50


async def test_many_are_given_the_same_bytes_and_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(giving_module, "BREATH", 10)
    messages = [message(n) for n in range(1, 31)]
    peers = [Peer("user.1.a") for _ in range(40)]
    giver = Giver(lambda: FAR)
    giving = asyncio.gather(*(giver.give(peer.subscriber, messages) for peer in peers))
    before, most = 0, 0
    while not giving.done():
        await asyncio.sleep(0)
        given = sum(peer.subscriber.delivered for peer in peers)
        before, most = given, max(most, given - before)
    assert await giving == [30] * 40
    assert most <= 10, "in one turn of the loop"
    frames = [frame for peer in peers for frame in iter(peer.buffer.pop, None)]
    assert len(frames) == 1200
    assert len({id(frame) for frame in frames}) == 30


@pytest.mark.django_db(transaction=True)
async def test_it_waits_for_room_beside_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (replay_module, giving_module):
        monkeypatch.setattr(module, "ROOM_DEADLINE", WAIT)
    log = Log()
    messages = [Kept(record) for record in await log.publish(*["user.1.a"] * 300)]
    peer = Peer("user.1.a", bound=20_000)
    both = [
        asyncio.create_task(log.replay(peer)),
        asyncio.create_task(Giver(lambda: log.heads).give(peer.subscriber, messages)),
    ]
    await peer.until_stuck()
    async with asyncio.timeout(WAIT / 2):
        while not all(task.done() for task in both):
            peer.take()
            await asyncio.sleep(0.001)
    assert not peer.overflowed
    assert len(peer.take()) == 600
