"""The client and the server of this project, over real sockets."""

import asyncio

import pytest

from notifications.client import Event, NotificationClient
from notifications.client.wire import CodecName
from notifications.errors import Forbidden
from notifications.resilience.backoff import RetryPolicy
from tests.deployment import Deployment

pytestmark = pytest.mark.server


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_publish_subscribe_and_a_restart_in_between(
    deployment: Deployment, codec: CodecName
) -> None:
    grants = ("--grant-publish=a.**", "--grant-subscribe=a.**")
    key = deployment.manage("create_api_key", "k", *grants).strip()
    server = deployment.start()
    events: list[Event] = []
    policy = RetryPolicy(max_retries=0, initial_delay=50, max_delay=200)
    async with NotificationClient(
        server.socket_url, token=key, retry=policy, on_event=events.append, codec=codec
    ) as client:
        await client.subscribe("a.*")
        first = await client.publish("a.b", {"n": 1}, metadata={"priority": "high"})
        received = await anext(client)
        assert (received.id, received.payload) == (first.message_id, {"n": 1})
        assert received.position == first.position
        with pytest.raises(Forbidden):
            await client.subscribe("b.*")

        server.kill()
        publishing = asyncio.create_task(client.publish("a.b", {"n": 2}))
        await asyncio.to_thread(deployment.start, port=server.port)
        second = await publishing  # waited for the connection, and was published once
        third = await client.publish("a.c", {"n": 3})
        ids = [(await anext(client)).id for _ in range(2)]
        assert ids == [second.message_id, third.message_id]
    assert deployment.query("SELECT count(*) FROM notifications_message") == [(3,)]
    assert [event.kind for event in events].count("connected") == 2
