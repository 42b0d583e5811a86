"""Subscriptions over REST, on real servers: a client that is there, on another server, and away."""

import asyncio
from typing import Any

import pytest

from tests.api.test_disconnect import ask, session_of
from tests.delivery.test_delivery import make_key
from tests.delivery.test_resume import begin, publish, replayed, resumed
from tests.deployment import Deployment, Server
from tests.socket_client import session

pytestmark = pytest.mark.server


async def live(holder: Server, asked: Server, key: str) -> None:
    """Begin and end a subscription of a client on `holder` by requests to `asked`."""
    async with session(holder.socket_url, key) as client:
        own = await client.subscribe("own.1.a")
        found = await session_of(asked, key, "test")
        path = f"/api/v1/sessions/{found['id']}/subscriptions"
        begun = await ask(asked, "POST", path, key, {"topic": "given.1.*"})
        assert begun.status == 201
        await asyncio.to_thread(publish, asked, key, "given.1.a", 20)
        told = await client.receive()
        assert (told["type"], "id" in told) == ("subscribed", False)
        assert {name: told[name] for name in begun.body} == begun.body
        messages = await client.messages(20)
        assert [message["payload"] for message in messages] == list(range(20))
        active = [begun.body["subscriptionId"], own["subscriptionId"]]
        verified = await client.request("verify", subscriptionIds=active)
        assert (verified["active"], verified["inactive"]) == (active, [])
        again = await ask(asked, "POST", path, key, {"topic": "given.1.*"})
        assert (again.status, again.body["code"]) == (409, "ALREADY_SUBSCRIBED")
        given = begun.body["subscriptionId"]
        assert (await ask(asked, "DELETE", f"{path}/{given}", key)).status == 204
        ended = await client.receive()
        assert (ended["type"], ended["subscriptionId"]) == ("unsubscribed", given)
        assert "id" not in ended
        await asyncio.to_thread(publish, asked, key, "given.1.a", 1)
        await asyncio.to_thread(publish, asked, key, "own.1.a", 1)
        assert (await client.message())["topic"] == "own.1.a"


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_client_on_another_server(cluster: Deployment) -> None:
    key = make_key(cluster)
    await live(cluster.start(), cluster.start(), key)


async def test_a_client_on_the_same_server(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    await live(server, server, key)


async def test_a_client_that_is_away_finds_it_when_it_resumes(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    success = await begin(server, key, "own.1.a", "own.1.ended")
    page = (await ask(server, "GET", "/api/v1/sessions", key)).body
    (found,) = page["sessions"]
    path = f"/api/v1/sessions/{found['id']}/subscriptions"
    ended = next(
        one["subscriptionId"] for one in found["subscriptions"] if one["topic"] == "own.1.ended"
    )
    await asyncio.to_thread(publish, server, key, "given.1.a", 2)
    begun = await ask(server, "POST", path, key, {"topic": "given.1.*"})
    assert begun.status == 201
    assert (await ask(server, "DELETE", f"{path}/{ended}", key)).status == 204
    await asyncio.to_thread(publish, server, key, "given.1.a", 2, 2)
    await asyncio.to_thread(publish, server, key, "own.1.ended", 1)
    await asyncio.to_thread(publish, server, key, "own.1.a", 1)
    async with resumed(server, key, success["sessionId"], success["cursor"]) as (client, answer):
        held: dict[str, Any] = {row["topic"]: row for row in answer["subscriptions"]}
        assert set(held) == {"own.1.a", "given.1.*"}
        assert held["given.1.*"]["subscriptionId"] == begun.body["subscriptionId"]
        assert [held[topic].get("unasked") for topic in ("given.1.*", "own.1.a")] == [True, None]
        messages, complete = await replayed(client)
        got = sorted((message["topic"], message["payload"]) for message in messages)
        assert got == [("given.1.a", 2), ("given.1.a", 3), ("own.1.a", 0)]
        assert (complete["recovered"], complete["count"]) == (True, 3)
        await asyncio.to_thread(publish, server, key, "given.1.a", 1, 4)
        assert (await client.message())["payload"] == 4


@pytest.mark.postgres
@pytest.mark.redis
async def test_what_the_bus_does_not_tell_is_found_in_the_rows(cluster: Deployment) -> None:
    """What was published before it was found comes too, and what follows."""
    key = make_key(cluster)
    apart = f"{cluster.env['NOTIFICATIONS_BUS_PREFIX']}-apart"
    holder, asked = cluster.start(), cluster.start(NOTIFICATIONS_BUS_PREFIX=apart)
    async with session(holder.socket_url, key) as client:
        found = await session_of(asked, key, "test")
        path = f"/api/v1/sessions/{found['id']}/subscriptions"
        begun = await ask(asked, "POST", path, key, {"topic": "given.1.*"})
        assert begun.status == 201
        await asyncio.to_thread(publish, asked, key, "given.1.a", 3)
        assert (await client.receive())["type"] == "subscribed"
        assert [one["payload"] for one in await client.messages(3)] == [0, 1, 2]
        given = begun.body["subscriptionId"]
        assert (await ask(asked, "DELETE", f"{path}/{given}", key)).status == 204
        assert (await client.receive())["type"] == "unsubscribed"
