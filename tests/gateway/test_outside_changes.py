"""Subscriptions that others begin and end, on an open connection over the real log."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.authentication import reload_principal
from accounts.models import ApiKey, TopicGrant
from accounts.services import create_api_key
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.gateway import outside_changes as door
from notifications.hub import Hub
from notifications.log.append import append
from notifications.log.read import read_state
from notifications.models import Subscription
from notifications.process.endings import DROPPED
from notifications.protocol.frames import Ping, Subscribe, SubscriptionOptions
from notifications.recovery.cursor import named
from notifications.services.outside_changes import read_held
from tests.gateway.clients import WAIT, Client, Frame, client_of, publish
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2030, 1, 1, tzinfo=UTC)


async def begun(topic: str, **options: Any) -> Subscription:
    """The row that a request over REST has made, where the log is now."""

    def make() -> Subscription:
        log = read_state()
        return Subscription.objects.create(
            principal="key:1",
            client_id="test",
            pattern=topic,
            options=options,
            begin=named(log.heads),
            epoch=log.epoch,
            begun_by="user:7",
            created_at=AT,
        )

    return await in_database(make)


async def level(client: Client, hub: Hub) -> None:
    """Wait until the connection follows live again."""
    async with asyncio.timeout(WAIT):
        while client.connection.subscriber.detached:
            await asyncio.sleep(0.001)


async def look(client: Client, hub: Hub, at: datetime = AT) -> None:
    client.connection.subscriptions_changed(at)
    await level(client, hub)


async def frames(client: Client) -> list[Frame]:
    """Return, and forget, what the client was sent."""
    await client.ask(Ping())
    await client.until("pong")
    found, client.frames = client.frames[:-1], []
    return found


def kinds(found: list[Frame]) -> list[str]:
    return [str(frame["type"]) for frame in found]


def payloads(found: list[Frame]) -> list[Any]:
    return [frame["payload"] for frame in found if frame["type"] == "message"]


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[Client]:
    client = await client_of(hub)
    hub.cursor(client.connection.subscriber)  # as its auth_success has told it
    yield client
    await client.connection.gone(1000)


async def test_the_client_is_told_and_gets_what_follows(hub: Hub, client: Client) -> None:
    await publish(hub, "user.1.a")
    row = await begun("user.1.*", maxReplayAge=60_000)
    await look(client, hub)
    (told,) = await frames(client)
    assert told == {
        "type": "subscribed",
        "subscriptionId": str(row.pk),
        "topic": "user.1.*",
        "options": {"maxReplayAge": 60_000},
        "createdAt": "2030-01-01T00:00:00.000Z",
        "cursor": {"epoch": row.epoch, "offsets": row.begin},
    }
    await publish(hub, "user.1.a", "user.1.b")
    found = await frames(client)
    assert payloads(found) == [0, 1]
    assert all("replayed" not in frame for frame in found)


async def test_what_came_before_this_was_heard_of_is_brought(hub: Hub, client: Client) -> None:
    """The bus lost the word: what was published meanwhile has passed the connection by."""
    await client.ask(Subscribe(id=1, topic="user.1.had"))
    options = SubscriptionOptions(filter={"eq": ["payload", 2]})
    await client.ask(Subscribe(id=2, topic="user.1.filtered", options=options))
    await publish(hub, "user.1.a")
    await begun("user.1.**")
    await publish(hub, "user.1.a", "user.1.had", "user.1.filtered", "user.1.filtered")
    assert payloads(await frames(client)) == [1, 2]
    await look(client, hub)
    await publish(hub, "user.1.a")
    told, *found = await frames(client)
    assert (told["type"], told["topic"]) == ("subscribed", "user.1.**")
    assert [(frame["topic"], frame["payload"], frame.get("replayed")) for frame in found] == [
        ("user.1.a", 0, True),
        ("user.1.filtered", 3, True),
        ("user.1.a", 0, None),
    ]


async def test_nothing_is_missed_while_the_rows_are_read(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(work: Any, *arguments: Any) -> Any:
        if work is read_held:
            reading.set()
            await goes_on.wait()
        return await in_database(work, *arguments)

    monkeypatch.setattr(door, "in_database", slowly)
    await begun("user.1.*")
    client.connection.subscriptions_changed(AT)
    await reading.wait()
    await publish(hub, "user.1.a", "user.1.b", "user.2.a")
    # Another change, heard of meanwhile: it is looked for once more.
    await begun("user.2.*")
    client.connection.subscriptions_changed(AT + timedelta(seconds=1))
    await publish(hub, "user.2.b")
    goes_on.set()
    await level(client, hub)
    found = await frames(client)
    topics = [frame["topic"] for frame in found if frame["type"] == "message"]
    assert sorted(topics) == ["user.1.a", "user.1.b", "user.2.b"]
    begins = [frame["topic"] for frame in found if frame["type"] == "subscribed"]
    assert sorted(begins) == ["user.1.*", "user.2.*"]


async def test_a_server_that_is_behind_sends_nothing_from_before_the_beginning(
    hub: Hub, client: Client
) -> None:
    await hub.follow(["user.1.a"])
    await in_database(append, [publication("user.1.a", "before")])
    row = await begun("user.1.a")
    assert hub.offsets() != tuple(row.begin.values()), "the hub has not heard of it"
    await look(client, hub)
    await publish(hub, "user.1.a")
    assert payloads(await frames(client)) == [0]


async def test_what_others_ended_ends(hub: Hub, client: Client) -> None:
    """Also where the message that named it was lost; what is in force still, stays."""
    ended, _ = str((await begun("user.1.a")).pk), await begun("user.1.b")
    await look(client, hub)
    assert kinds(await frames(client)) == ["subscribed"] * 2
    await in_database(Subscription.objects.filter(pk=ended).delete)
    await look(client, hub, AT + timedelta(seconds=1))
    (told,) = await frames(client)
    assert told == {"type": "unsubscribed", "subscriptionId": ended, "reason": DROPPED}
    await publish(hub, "user.1.a", "user.1.b")
    assert payloads(await frames(client)) == [1]


async def test_one_change_is_looked_at_once(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Any] = []

    async def counted(work: Any, *arguments: Any) -> Any:
        reads.append(work)
        return await in_database(work, *arguments)

    monkeypatch.setattr(door, "in_database", counted)
    for _ in range(3):
        await look(client, hub)
    assert reads == [read_held]


async def test_a_change_that_is_heard_of_while_the_connection_catches_up_is_looked_at(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, later = hub.attach, AT + timedelta(seconds=1)

    async def slowly(subscriber: Any) -> None:
        await attach(subscriber)
        if len(client.connection.subscriber.wishes) == 1:
            await begun("user.1.b")
            client.connection.subscriptions_changed(later)

    monkeypatch.setattr(hub, "attach", slowly)
    await begun("user.1.a")
    await look(client, hub)
    async with asyncio.timeout(WAIT):
        while len(client.connection.subscriber.wishes) < 2:
            await asyncio.sleep(0.001)
    await level(client, hub)
    assert kinds(await frames(client)) == ["subscribed", "subscribed"]
    await publish(hub, "user.1.a", "user.1.b")
    assert payloads(await frames(client)) == [0, 1]


async def test_a_look_that_failed_is_repeated(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise Unavailable("The database is away.")

    await begun("user.1.a")
    with monkeypatch.context() as outage:
        outage.setattr(door, "in_database", away)
        await look(client, hub)
    assert await frames(client) == []
    await look(client, hub)
    assert kinds(await frames(client)) == ["subscribed"]


async def test_what_the_client_asks_for_itself_is_told_once(hub: Hub, client: Client) -> None:
    """Its request is refused with the id, which brings the subscription into force."""
    row = await begun("user.1.a")
    await client.ask(Subscribe(id=1, topic="user.1.a"))
    await look(client, hub)
    (answer,) = await frames(client)
    assert (answer["code"], answer["data"]) == (
        "ALREADY_SUBSCRIBED",
        {"subscriptionId": str(row.pk)},
    )
    await client.ask(Subscribe(id=2, topic="user.1.b"))
    await look(client, hub, AT + timedelta(seconds=1))
    assert kinds(await frames(client)) == ["subscribed"]


async def test_a_subscription_within_a_new_grant_brings_the_grant_along(
    hub: Hub, client: Client
) -> None:
    def make() -> ApiKey:
        create_api_key(name="k", publish=[], subscribe=["old.**"])
        return ApiKey.objects.get()

    key = await in_database(make)
    connection = client.connection
    assert connection.principal is not None
    connection.principal = await in_database(
        reload_principal, replace(connection.principal, id=key.principal_id)
    )
    await begun("user.1.a")
    await in_database(Subscription.objects.update, principal=key.principal_id)
    await look(client, hub)
    assert await frames(client) == [], "it may not read that"
    await in_database(TopicGrant.objects.create, api_key=key, action="subscribe", pattern="user.**")
    await look(client, hub, AT + timedelta(seconds=1))
    assert kinds(await frames(client)) == ["subscribed"]


async def test_a_connection_that_is_not_open_yet_is_left_alone(hub: Hub, client: Client) -> None:
    client.connection.subscriber.acked = ()
    await begun("user.1.a")
    await look(client, hub)
    assert await frames(client) == []


async def test_a_connection_that_goes_meanwhile_is_let_go(hub: Hub) -> None:
    client = await client_of(hub)
    await begun("user.1.a")
    client.connection.subscriptions_changed(AT)
    async with asyncio.timeout(WAIT):
        await client.connection.gone(1006)
    assert client.frames == []
    client.connection.subscriptions_changed(AT + timedelta(seconds=1))
