"""Redelivery on one server: connections in the way of nobody, and wishes that are not lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from notifications import metrics
from notifications.database import in_database
from notifications.hub import Hub
from notifications.hub import follower as follower_module
from notifications.log import read as read_module
from notifications.log.creation import read_identity
from notifications.log.read import LogState
from notifications.models import Delivery, Message, Redelivery, Session
from notifications.process import redelivering
from notifications.process.redelivering import Redeliveries
from notifications.services import redelivery
from tests.hub.test_hub import Net, Peer, publish, subscribe
from tests.process.doubles import Recorder
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)

TOPIC = "a.b"
NEVER = 1e6
WAIT = 10.0


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(follower_module, "GRACE", 0.001)
    hub = Hub(
        Net(capacity=1_000),
        await in_database(read_identity),
        on_control=lambda _: None,
        poll_interval=NEVER,
    )
    await hub.start()
    yield hub
    await hub.stop()


class Here:
    """A server with clients that subscribe to the topic."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.books: dict[uuid.UUID, Recorder] = {}
        self.redeliveries = Redeliveries(hub, self.books)

    async def client(self, name: str) -> tuple[Peer, Session]:
        session = await in_database(rows.session, "user:1", name)
        peer = Peer()
        await subscribe(self.hub, peer, TOPIC)
        self.books[session.pk] = recorder = Recorder(handle=session.pk)
        recorder.subscriber = peer.subscriber
        return peer, session

    async def wish(self, session: Session | None, after: int = 0, up_to: int = 1) -> Redelivery:
        message = await in_database(Message.objects.filter(topic__name=TOPIC).earliest, "seq")
        return await in_database(
            Redelivery.objects.create,
            topic=TOPIC,
            partition=message.partition_id,
            after=message.offset - 1 + after,
            up_to=message.offset - 1 + up_to,
            session=session,
            created_at=timezone.now(),
        )


@pytest.fixture
async def here(hub: Hub) -> AsyncIterator[Here]:
    here = Here(hub)
    await here.redeliveries.start()
    await publish(hub, TOPIC, TOPIC, TOPIC)
    await hub.look()
    yield here
    await here.redeliveries.stop()
    assert not here.redeliveries._lanes


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.001)


async def at_rest(here: Here) -> None:
    await until(lambda: not here.redeliveries._tasks)


def seqs(peer: Peer) -> list[int]:
    peer.take()
    return [frame["seq"] for frame in peer.received if frame.get("replayed")]


async def test_a_client_that_cannot_take_its_own_is_in_the_way_of_nobody(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivering, "GIVE_DEADLINE", NEVER)
    _, stuck = await here.client("stuck")
    other, session = await here.client("other")
    here.hub.detach(here.books[stuck.pk].subscriber)
    for _ in range(10):
        await here.wish(stuck)
    await here.wish(session, 0, 3)
    async with asyncio.timeout(WAIT):
        await here.redeliveries.look()
    await until(lambda: seqs(other) == [1, 2, 3])


async def test_a_client_that_cannot_take_what_is_for_all_takes_it_later(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivering, "PATIENCE", 0.01)
    monkeypatch.setattr(redelivering, "GIVE_DEADLINE", NEVER)
    monkeypatch.setattr(redelivering, "CHUNK", 1)
    monkeypatch.setattr(
        redelivering,
        "read_of_topics",
        lambda *args: read_module.read_of_topics(*args, limit=1),
    )
    late, _ = await here.client("late")
    other, _ = await here.client("other")
    here.hub.detach(late.subscriber)
    await here.wish(None, 0, 3)
    await here.redeliveries.look()
    await until(lambda: seqs(other) == [1, 2, 3])
    assert seqs(late) == []
    await here.hub.attach(late.subscriber)
    await until(lambda: seqs(late) == [1, 2, 3])
    await at_rest(here)
    assert seqs(late) == seqs(other) == [1, 2, 3]


async def test_a_wish_that_met_a_database_that_was_away_is_carried_out(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivering, "RETRY_PAUSE", 0)
    peer, session = await here.client("c")
    failures = 3

    def find_topics(*args: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OperationalError("the database is away")
        return read_module.find_topics(*args)

    monkeypatch.setattr(redelivering, "find_topics", find_topics)
    await here.wish(session)
    await here.redeliveries.look()
    await until(lambda: seqs(peer) == [1])
    assert failures == -1


async def test_what_is_not_taken_in_time_is_given_up_and_does_not_count(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivering, "GIVE_DEADLINE", 0.05)
    stuck, session = await here.client("stuck")
    here.hub.detach(stuck.subscriber)
    wishes = [await here.wish(session) for _ in range(3)]

    def delivery() -> Delivery:
        return Delivery.objects.create(
            message_id=uuid.uuid4(),
            topic=TOPIC,
            partition=wishes[0].partition,
            offset=wishes[0].up_to,
            publisher="system",
            session=session,
            since=timezone.now(),
            attempts=3,
            reason="no_ack",
        )

    row = await in_database(delivery)
    before = metrics.redeliveries_given_up._value.get()
    await here.redeliveries.look()
    await at_rest(here)
    assert metrics.redeliveries_given_up._value.get() == before + 3
    await in_database(row.refresh_from_db)
    assert (row.state, row.attempts) == ("pending", 1), "one attempt was given: the first"
    await here.hub.attach(stuck.subscriber)
    await here.wish(session)
    await here.redeliveries.look()
    await until(lambda: seqs(stuck) == [1])


async def test_wishes_that_wait_for_a_client_are_bounded(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivering, "GIVE_DEADLINE", NEVER)
    monkeypatch.setattr(redelivering, "LANE_BOUND", 2)
    stuck, session = await here.client("stuck")
    here.hub.detach(stuck.subscriber)
    await here.wish(session)
    await here.redeliveries.look()
    await until(lambda: not here.redeliveries._lanes[stuck.subscriber])  # it is being given
    for _ in range(4):
        await here.wish(session)
    before = metrics.redeliveries_given_up._value.get()
    await here.redeliveries.look()
    await until(lambda: metrics.redeliveries_given_up._value.get() == before + 2)
    await here.hub.attach(stuck.subscriber)
    await at_rest(here)
    assert seqs(stuck) == [1, 1, 1]


@pytest.mark.parametrize("epoch_too", [False, True], ids=["fewer", "new epoch"])
async def test_after_a_restore_new_wishes_are_carried_out_and_old_ones_are_not(
    here: Here, epoch_too: bool
) -> None:
    peer, session = await here.client("c")
    first, last = [(await here.wish(session)).pk for _ in range(3)][::2]
    await here.redeliveries.look()
    await until(lambda: seqs(peer) == [1, 1, 1])

    def restore() -> None:
        Redelivery.objects.all().delete()
        fields: dict[str, Any] = {"topic": TOPIC, "partition": partition, "session": session}
        fields |= {"after": offset - 1, "up_to": offset}
        old = timezone.now() - timedelta(hours=1)
        Redelivery.objects.create(pk=first, created_at=old, **fields)
        Redelivery.objects.create(pk=first + 1, created_at=timezone.now(), **fields)
        if epoch_too:  # so many new ones that the ids tell nothing
            Redelivery.objects.create(pk=last + 9, created_at=timezone.now(), **fields)

    message = await in_database(Message.objects.filter(topic__name=TOPIC).earliest, "seq")
    partition, offset = message.partition_id, message.offset
    await in_database(restore)
    if epoch_too:
        heads, floors = here.hub.heads(), here.hub.floors
        here.hub.learn(LogState("another", heads, floors))
    await here.redeliveries.look()
    await at_rest(here)
    assert len(seqs(peer)) == 3 + (2 if epoch_too else 1)
    await here.redeliveries.look()
    await at_rest(here)
    assert len(seqs(peer)) == 3 + (2 if epoch_too else 1), "once"


async def test_an_emptied_table_is_no_restore(here: Here) -> None:
    peer, session = await here.client("c")
    await here.wish(session)
    await here.redeliveries.look()
    await until(lambda: seqs(peer) == [1])
    later = timezone.now() + timedelta(hours=2)
    assert await in_database(redelivery.forget_redeliveries, now=later) == 1
    await here.redeliveries.look()
    await here.wish(session)
    await here.redeliveries.look()
    await until(lambda: seqs(peer) == [1, 1])
    await at_rest(here)
    assert seqs(peer) == [1, 1]


async def test_what_stops_gives_up(here: Here) -> None:
    stuck, session = await here.client("stuck")
    here.hub.detach(stuck.subscriber)
    await here.wish(session)
    await here.wish(None)
    await here.redeliveries.look()
    assert here.redeliveries._tasks
    await here.redeliveries.stop()
    await asyncio.sleep(0)
    assert not here.redeliveries._tasks
