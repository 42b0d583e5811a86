"""Cursors that a client was given by a process that is ahead of the one it asks."""

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.database import in_database
from notifications.hub import Hub
from notifications.log.append import append
from notifications.models import Log
from notifications.protocol.frames import Ack, Replay, Subscribe, SubscriptionOptions
from notifications.topics.partitions import partition_of
from tests.gateway.clients import Client, client_of, publish
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

USER_1 = partition_of("user.1", 16)


async def behind(hub: Hub) -> Client:
    """Return a client of `user.1.b` on a process that has not heard of two messages of five."""
    client = await client_of(hub, "user.1.b")
    noted: list[Any] = []
    client.connection.handle = uuid.uuid4()
    client.connection.process.acknowledgements = SimpleNamespace(  # type: ignore[assignment]
        note=lambda *arguments: noted.append(arguments)
    )
    await publish(hub, *["user.1.a"] * 3)
    await in_database(append, [publication("user.1.b", "new"), publication("user.1.a", "new")])
    assert hub.heads()[USER_1] == 3
    return client


def cursor(hub: Hub, offset: int) -> dict[str, Any]:
    return {"epoch": hub.identity.epoch, "offsets": {str(USER_1): offset}}


@pytest.mark.parametrize("offset", [4, 5])
async def test_a_replay_begins_there(hub: Hub, offset: int) -> None:
    client = await behind(hub)
    await client.ask(Replay(id=1, cursor=cursor(hub, offset)))
    complete = await client.until("replay_complete")
    assert (complete["recovered"], complete["count"]) == (True, 0)
    assert complete["cursor"]["offsets"][str(USER_1)] == 5, "not behind what it was asked for"
    assert client.payloads() == ["new"], "live, as this process had not delivered it before"


async def test_a_subscription_begins_there(hub: Hub) -> None:
    client = await behind(hub)
    options = SubscriptionOptions(since=cursor(hub, 4))
    await client.ask(Subscribe(id=1, topic="user.1.a", options=options))
    complete = await client.until("replay_complete")
    assert (complete["recovered"], complete["count"]) == (True, 1)
    assert complete["cursor"]["offsets"][str(USER_1)] == 5
    assert client.payloads() == ["new", "new"]


async def test_an_acknowledgement_reaches_there(hub: Hub) -> None:
    client = await behind(hub)
    await client.ask(Ack(cursor=cursor(hub, 5)))
    assert client.connection.subscriber.acked[USER_1] == 5
    assert not [frame for frame in client.frames if frame["type"] == "error"]


async def test_beyond_the_log_is_no_cursor_of_it(hub: Hub) -> None:
    client = await behind(hub)
    await client.ask(Replay(id=1, cursor=cursor(hub, 6)))
    complete = await client.until("replay_complete")
    assert (complete["recovered"], complete["reason"]) == (False, "BAD_CURSOR")
    await client.ask(Ack(cursor=cursor(hub, 6)))
    assert (await client.until("error"))["code"] == "BAD_CURSOR"


async def test_an_epoch_that_began_unheard_of_is_known_then(hub: Hub) -> None:
    client = await behind(hub)
    await in_database(Log.objects.update, epoch="xnew")
    place = {"epoch": "xnew", "offsets": {str(USER_1): 4}}
    await client.ask(Replay(id=1, cursor=place))
    complete = await client.until("replay_complete")
    assert (complete["recovered"], complete["cursor"]["epoch"]) == (True, "xnew")
