"""The client and the server of this project, over real sockets."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bellwether_client import (
    CircuitBreakerConfig,
    ClientEvent,
    FileStorage,
    Last,
    NotificationClient,
    NotificationClientConfig,
    NotificationError,
    RetryConfig,
    SubscriptionOptions,
)
from bellwether_client.config import CodecName
from tests.deployment import Deployment

QUICK = RetryConfig(max_retries=0, initial_delay=50, max_delay=200)
OFTEN = CircuitBreakerConfig(reset_timeout=200)
WAIT = 20.0

NARROW_KEY = ("create_api_key", "k", "--grant-publish=a.**", "--grant-subscribe=a.**")

pytestmark = [pytest.mark.server, pytest.mark.prepared(NARROW_KEY)]


def client_of(url: str, key: str, **config: Any) -> NotificationClient:
    known: dict[str, Any] = {"url": url, "auth": key, "retry_config": QUICK}
    known["circuit_breaker"] = OFTEN
    return NotificationClient(NotificationClientConfig(**known | config))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_publish_subscribe_and_a_restart_in_between(
    deployment: Deployment, codec: CodecName
) -> None:
    key = deployment.printed[1]
    server = deployment.start()
    client = client_of(server.socket_url, key, codec=codec)
    events: list[ClientEvent] = []
    client.on_event(events.append)
    async with client, client.stream("a.*") as messages:
        await messages.ready()
        first = await client.publish("a.b", {"n": 1}, priority="high")
        received = await anext(messages)
        assert (received.id, received.payload) == (first.id, {"n": 1})
        assert received.position == first.position
        with pytest.raises(NotificationError, match="FORBIDDEN"):
            await client.subscribe("b.*", print).ready()

        server.kill()
        publishing = asyncio.create_task(client.publish("a.b", {"n": 2}))
        await asyncio.to_thread(deployment.start, port=server.port)
        second = await publishing  # waited for the connection, and was published once
        third = await client.publish("a.c", {"n": 3})
        ids = [(await anext(messages)).id for _ in range(2)]
        assert ids == [second.id, third.id]
        assert client.get_stats().reconnect_count == 1
    assert deployment.query("SELECT count(*) FROM notifications_message") == [(3,)]
    assert [event.type for event in events if event.type == "gap"] == []


async def test_a_restart_of_the_program_goes_on_where_it_was(
    embedded: Deployment, tmp_path: Path
) -> None:
    key = embedded.printed[1]
    url = embedded.start().socket_url
    storage = FileStorage(tmp_path / "state.json")
    async with client_of(url, key, storage=storage) as client:
        messages = client.stream("a.*")
        await messages.ready()
        for number in range(3):
            await client.publish("a.b", number)
        assert [(await anext(messages)).payload for _ in range(2)] == [0, 1]
        # The first is handled, the second in hand.
    embedded.manage("publish", "a.b", "3")
    async with client_of(url, key, storage=FileStorage(tmp_path / "state.json")) as client:
        messages = client.stream("a.*")
        found = [await anext(messages) for _ in range(3)]
        assert [message.payload for message in found] == [1, 2, 3]
        assert all(message.replayed for message in found)


async def test_the_past_is_had_by_since_and_by_replay(embedded: Deployment) -> None:
    key = embedded.printed[1]
    async with client_of(embedded.start().socket_url, key) as client:
        begin = client.get_cursor()
        assert begin is not None
        for number in range(4):
            await client.publish("a.b", number)
        seen: list[Any] = []
        options = SubscriptionOptions(since=Last(count=2))
        subscription = client.subscribe(
            "a.*", lambda message: seen.append(message.payload), options
        )
        await subscription.ready()
        await client.publish("a.b", 4)
        async with asyncio.timeout(WAIT):
            while 4 not in seen:  # what is live; a replay ends where the server stands
                await asyncio.sleep(0.01)
        # It brings nothing from before its subscription was made.
        result = await client.replay(begin, subscription=subscription)
        assert (result.recovered, result.count, seen) == (True, 1, [2, 3, 4, 4])
