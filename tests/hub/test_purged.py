"""What was purged: read once for all who come back, and never taken for true for too long."""

import asyncio
import threading
from typing import Any

import pytest

from notifications import metrics
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import purged as purged_module
from notifications.hub.purged import Purged, mark
from notifications.hub.turns import Turns
from notifications.hub.wanted import Wanted
from notifications.log.read import read_purged
from notifications.models import Topic
from notifications.recovery.cursor import Unrecovered
from tests.hub.test_replay import COUNT, NEIGHBOUR, USER_1, WAIT, Log, Peer, place, purge

pytestmark = pytest.mark.django_db(transaction=True)

LOST = (Unrecovered.BEYOND_RETENTION, 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note the readings of purged topics."""
    seen: list[tuple[Any, ...]] = []

    def watched(*arguments: Any, **more: Any) -> Any:
        seen.append(arguments)
        return read_purged(*arguments, **more)

    monkeypatch.setattr(purged_module, "read_purged", watched)
    return seen


async def test_many_who_come_back_to_below_a_floor_read_what_was_purged_once(
    reads: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the page that was read after it, they make sure once more: together, too."""
    monkeypatch.setattr(purged_module, "FRESH", 1_000.0)
    log = Log()
    await log.publish(*[f"{NEIGHBOUR}.t{n}" for n in range(40)])
    await log.publish(*(f"user.1.t{n % 50}" for n in range(400)))
    for number in range(40):
        await in_database(purge, f"{NEIGHBOUR}.t{number}", number + 1)
    peers = [Peer(f"user.1.t{n % 50}" if n % 2 else f"user.1.t{n % 50}.**") for n in range(100)]
    peers += [Peer("user.1.*") for _ in range(20)]
    outcomes = await asyncio.gather(*(log.replay(peer) for peer in peers))
    assert outcomes == [(None, 0), (None, 8)] * 50 + [(None, 400)] * 20
    assert log.reads == 1
    assert len(reads) == 2


async def test_every_read_is_counted(
    reads: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(metrics.replay_reads, "inc", lambda: counted.append("a read"))
    monkeypatch.setattr(purged_module, "TOPICS", 1)
    log = Log()
    await log.publish("user.1.a", "user.1.b")
    for number, topic in enumerate(["user.1.a", "user.1.b"], 1):
        await in_database(purge, topic, number)
    peer = Peer("user.1.c")
    purged = Purged(Turns())
    asked = purged.concerns(Wanted(peer.subscriber, None), USER_1, 0, floor=2)
    assert not await asked
    assert len(counted) == len(reads) == 2, "for all, then below what that brought"


async def test_what_lies_below_the_topics_that_are_known_is_asked_for(
    reads: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purged_module, "TOPICS", 3)
    log = Log()
    topics = [f"user.1.t{n}" for n in range(6)]
    await log.publish(*topics, f"{NEIGHBOUR}.a")
    for number, topic in enumerate(topics, 1):
        await in_database(purge, topic, number)
    assert await log.replay(Peer("user.1.t1")) == LOST
    assert await log.replay(Peer("user.1.*"), after=place(4)) == LOST
    assert await log.replay(Peer(f"{NEIGHBOUR}.*")) == (None, 1)
    reads.clear()
    assert await log.replay(Peer("user.1.t1"), after=place(4)) == (None, 0)
    assert not any(len(arguments) == 3 for arguments in reads), "for nobody alone"


async def test_a_purge_below_the_floor_is_found_before_its_hole_is_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It moves its topic's floor, and the partition's not at all."""
    monkeypatch.setattr(purged_module, "FRESH", 1_000.0)
    log = Log()
    await log.publish("user.1.a", "user.1.a", *[f"{NEIGHBOUR}.a"] * 8)
    await in_database(purge, f"{NEIGHBOUR}.a", 10)
    assert not await log.feeder._purged.concerns(
        Wanted(Peer("user.1.a").subscriber, None), USER_1, 0, floor=10
    )
    await in_database(purge, "user.1.a", 1)
    peer = Peer("user.1.a")
    assert await log.replay(peer) == LOST
    assert peer.take() == []


@pytest.mark.parametrize(
    ("fresh", "floor", "expected"),
    [(1_000.0, 10, 1), (1_000.0, 11, 2), (-1.0, 10, 2)],
    ids=["shared", "the floor has moved", "too old"],
)
async def test_a_reading_serves_who_begins_while_it_is_fresh(
    reads: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    fresh: float,
    floor: int,
    expected: int,
) -> None:
    monkeypatch.setattr(purged_module, "FRESH", fresh)
    log = Log()
    await log.publish(*["user.1.a"] * 12)
    await in_database(purge, "user.1.a", 10)
    purged = Purged(Turns())
    peers = [Peer("user.1.*"), Peer("user.1.b")]
    for peer, at in zip(peers, (10, floor), strict=True):
        wanted = Wanted(peer.subscriber, None)
        assert await purged.concerns(wanted, USER_1, 3, floor=at) == (peer is peers[0])
    assert len(reads) == expected


async def test_who_asks_while_it_is_being_read_does_not_take_what_was_true_before(
    reads: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    await log.publish("user.1.a", "user.1.b")
    reading, go_on = threading.Event(), threading.Event()

    def slowly(*arguments: Any, **more: Any) -> Any:
        found = read_purged(*arguments, **more)
        reads.append(arguments)
        reading.set()
        assert go_on.wait(WAIT)
        return found

    monkeypatch.setattr(purged_module, "read_purged", slowly)
    purged, wanted = Purged(Turns()), Wanted(Peer("user.1.a").subscriber, None)
    first = asyncio.create_task(purged.concerns(wanted, USER_1, 0, floor=1))
    assert await asyncio.to_thread(reading.wait, WAIT)
    await in_database(purge, "user.1.a", 1)
    seen = mark()
    later = [
        asyncio.create_task(purged.concerns(wanted, USER_1, 0, floor=1, seen=seen))
        for _ in range(5)
    ]
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(WAIT):
        assert not await first
        assert await asyncio.gather(*later) == [True] * 5
    assert len(reads) == 2, "one more for all five"


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    await log.publish("user.1.a")
    await in_database(purge, "user.1.a", 1)
    purged, wanted = Purged(Turns()), Wanted(Peer("user.1.a").subscriber, None)

    def fail(*arguments: Any, **more: Any) -> Any:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(purged_module, "read_purged", fail)
        asked = [purged.concerns(wanted, USER_1, 0, floor=1) for _ in range(3)]
        results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    assert await purged.concerns(wanted, USER_1, 0, floor=1)


async def test_another_life_of_the_log_forgets_what_was_purged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purged_module, "FRESH", 1_000.0)
    log = Log()
    await log.publish("user.1.a")
    await in_database(purge, "user.1.a", 1)
    peer = Peer("user.1.*")
    assert await log.replay(peer) == LOST
    await in_database(Topic.objects.update, floor=0)
    log.feeder.begin_anew()
    assert await log.replay(peer, floors=tuple([1] * COUNT)) == (None, 0)
