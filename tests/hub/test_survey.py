"""What it may cost to find out what somebody missed."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from notifications.database import in_database
from notifications.hub import replay as replay_module
from notifications.hub import survey as survey_module
from notifications.hub import wanted as wanted_module
from notifications.hub.pages import Kept
from notifications.hub.survey import Found
from notifications.hub.wanted import Caps, Replay, Wanted
from notifications.log.headlines import Headline, first_since, read_headlines
from notifications.log.read import Reading, read_at
from notifications.log.records import Record, new_message_id, now_ms
from notifications.models import Message
from notifications.recovery.cursor import Unrecovered
from notifications.topics.partitions import partition_of
from tests.hub.test_replay import COUNT, NEIGHBOUR, USER_1, ZERO, Log, Peer, place

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3_600_000


class Reads:
    """The reads for one connection: how many headlines each brought, or which messages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.headlines: list[int] = []
        self.messages: list[list[int]] = []
        monkeypatch.setattr(survey_module, "read_headlines", self._headlines)
        monkeypatch.setattr(replay_module, "read_at", self._at)

    def _headlines(self, *arguments: Any, **more: Any) -> list[Headline]:
        found = read_headlines(*arguments, **more)
        self.headlines.append(len(found))
        return found

    def _at(self, partition: int, offsets: Any) -> Reading:
        found = read_at(partition, offsets)
        self.messages.append([one.offset for one in found.records])
        return found


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log of which nothing is in memory, and of which everybody reads alone."""
    for module in (replay_module, survey_module):
        monkeypatch.setattr(module, "SHARED_SPAN", -1)
    return Log()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def made_an_hour_ago(*offsets: int) -> None:
    then = now_ms() - HOUR
    for row in Message.objects.filter(partition_id=USER_1, offset__in=offsets):
        Message.objects.filter(pk=row.pk).update(
            id=new_message_id(then), published_at=F("published_at") - timedelta(hours=1)
        )


# --- What is looked at ------------------------------------------------------------------------


async def test_each_headline_of_many_topics_is_read_once(
    log: Log, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "HEADLINES", 7)
    topics = [f"user.1.t{n % 6}" for n in range(60)]
    await log.publish(*topics, *[f"{NEIGHBOUR}.a"] * 100)
    assert await log.replay(Peer("user.1.*"), caps=Caps(100), after=ZERO) == (None, 60)
    assert sum(reads.headlines) == 60
    assert max(reads.headlines) == 7
    assert [offset for some in reads.messages for offset in some] == list(range(1, 61))


async def test_who_wants_nothing_of_a_long_partition_reads_nothing_of_it(
    log: Log, reads: Reads
) -> None:
    await log.publish(*[f"user.{n}.a" for n in range(40)] * 3)
    for pattern in ("user.1.none", "user.*.none", "*.*.none"):
        assert await log.replay(Peer(pattern), caps=Caps(2)) == (None, 0)
    assert (reads.headlines, reads.messages) == ([], [])


@pytest.mark.parametrize("way", ["few topics", "many topics"])
async def test_what_is_looked_at_is_bounded(
    log: Log, reads: Reads, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(survey_module, "HEADLINES", 5)
    monkeypatch.setattr(survey_module, "LOOKED_AT", 10)
    if way == "many topics":
        monkeypatch.setattr("notifications.log.read.TOPICS_BOUND", 0)
    await log.publish(*["user.1.a", "user.1.b"] * 20, expires_at=1)
    peer = Peer("user.1.*")
    assert await log.replay(peer, caps=Caps(1)) == (Unrecovered.TOO_MANY, 0)
    assert sum(reads.headlines) == (0 if way == "many topics" else 15)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left to be closed later"
    # Ten times as many as may be brought are always looked at.
    assert await log.replay(peer, caps=Caps(4)) == (None, 0)


async def test_what_is_too_old_is_not_looked_at(log: Log, reads: Reads) -> None:
    await log.publish(*["user.1.a"] * 20)
    await in_database(made_an_hour_ago, *range(1, 16))
    young = Peer()
    young.want("user.1.*", max_age=HOUR // 2)
    assert await log.replay(young, caps=Caps(10)) == (None, 5)
    assert sum(reads.headlines) == 5
    # All who want something bound it, and the replay itself; the lowest bound that is known counts.
    young.want("user.1.a")
    assert await log.replay(young, caps=Caps(10)) == (Unrecovered.TOO_MANY, 0)
    assert await log.replay(young, caps=Caps(10), max_age=HOUR // 2) == (None, 5)
    young.want("user.1.a", max_age=2 * HOUR)
    assert await log.replay(young, caps=Caps(20)) == (None, 20)


async def test_where_the_young_begin() -> None:
    log = Log()
    await log.publish(*["user.1.a"] * 4, "other.x")
    await in_database(made_an_hour_ago, 1, 3)
    since = now_ms() - HOUR // 2
    found = {USER_1: 2, partition_of("other.x", COUNT): 1}
    assert await in_database(first_since, since, limit=3) == found
    assert await in_database(first_since, since, limit=2) is None
    assert await in_database(first_since, now_ms() + HOUR, limit=2) == {}


async def test_few_messages_are_not_counted_for_a_policy(
    log: Log, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(topic: str) -> tuple[str, int] | None:
        return "user.**", 3

    await log.publish(*["user.1.a"] * 3)
    for module in (replay_module, survey_module):
        monkeypatch.setattr(module, "SHARED_SPAN", 2000)
    caps = Caps(100, of, least=3)
    assert await log.replay(Peer("user.1.*"), caps=caps) == (None, 3)
    await log.publish("user.1.a")
    assert await log.replay(Peer("user.1.*"), caps=caps) == (Unrecovered.TOO_MANY, 0)
    # What is counted comes out of the pages that it would be sent from.
    assert reads.headlines == []
    assert log.reads == 2


async def test_others_have_their_turn_while_many_topics_are_matched(log: Log) -> None:
    topics = [f"user.1.t{n}" for n in range(300)]
    await log.publish(*topics)
    peer = Peer(*topics[:50])
    wanted = Wanted(peer.subscriber, None)
    lines = [Headline(1, n, topic, 0, 0, 1) for n, topic in enumerate(topics)]
    matched = 0

    def counting(line: Any, partition: int, now: int) -> bool:
        nonlocal matched
        matched += 1
        return wanted(line, partition, now)

    survey = log.feeder._survey(counting, None)  # type: ignore[arg-type]

    async def given() -> Any:
        yield lines

    finding = asyncio.create_task(survey._find(USER_1, 0, 300, given()))
    before, most = 0, 0
    while not finding.done():
        await asyncio.sleep(0)
        before, most = matched, max(most, matched - before)
    assert matched == 300
    assert most <= survey_module.BREATH


async def test_who_wants_a_topic_is_remembered_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted_module, "KNOWN_TOPICS", 10)
    peer = Peer("user.*.a", "user.7.a")
    replay = Replay(after=ZERO, through=ZERO, floors=ZERO, caps=Caps(1))
    wanted = Wanted(peer.subscriber, replay)
    for n in range(100):
        assert wanted(Headline(n, n, f"user.{n}.a", 0, 0, 1), 0, 1)
        assert not wanted(Headline(n, n, f"user.{n}.b", 0, 0, 1), 0, 1)
        assert len(wanted._known) <= 10


# --- What is read and held ----------------------------------------------------------------------


def test_what_is_found_is_cut_by_number_and_by_bytes() -> None:
    found = Found(0, 100, [(40, 30), (10, 10), (20, 10), (30, 500), (50, 1)])

    def cut(after: int, count: int, size: int) -> list[int]:
        return list(found.next(after, count=count, size=size))

    assert cut(0, 2, 1000) == [10, 20]
    assert cut(0, 9, 20) == [10, 20]
    assert cut(0, 9, 19) == [10]
    assert cut(20, 9, 100) == [30], "one that is larger is read alone"
    assert cut(39, 9, 30) == [40]
    assert cut(39, 9, 31) == [40, 50]
    assert cut(50, 9, 100) == []


async def test_one_read_brings_so_many_bytes(
    log: Log, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "READ_BYTES", 40)
    await log.publish(*["user.1.a", "user.1.bbb"] * 4)  # payloads of 10 and of 12 bytes
    peer = Peer("user.1.*")
    assert await log.replay(peer) == (None, 8)
    assert reads.messages == [[1, 2, 3], [4, 5, 6], [7, 8]]


@pytest.mark.parametrize("way", ["shared", "alone"])
async def test_who_does_not_read_keeps_little_in_memory(
    log: Log, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(replay_module, "READ_BYTES", 50)
    if way == "shared":
        for module in (replay_module, survey_module):
            monkeypatch.setattr(module, "SHARED_SPAN", 2000)
    await log.publish(*["user.1.a"] * 400)
    peer = Peer("user.1.a", bound=20_000)
    going = asyncio.create_task(log.replay(peer))
    await peer.until_stuck()
    await asyncio.sleep(0.01)
    log.feeder._pages.clear()
    gc.collect()

    held = [one for one in gc.get_objects() if isinstance(one, Kept | Record)]
    assert len(held) <= 5, "the rest of one read"
    while not going.done():
        peer.take()
        await asyncio.sleep(0)
    assert await going == (None, 400)
    assert len(peer.take()) == 400


async def test_from_the_middle_of_what_is_found(log: Log, reads: Reads) -> None:
    await log.publish(*[f"{NEIGHBOUR}.a", "user.1.a"] * 10)
    assert await log.replay(Peer("user.1.*"), after=place(11)) == (None, 5)
    assert reads.messages == [[12, 14, 16, 18, 20]]
