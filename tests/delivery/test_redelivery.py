"""Acknowledged delivery and redelivery on real servers: until it is acknowledged, or given up."""

import asyncio
import json
from typing import Any

import pytest

from tests.delivery.test_delivery import make_key
from tests.deployment import Deployment, Server
from tests.socket_client import connect, session

pytestmark = pytest.mark.server


def deliveries(server: Server, key: str, message_id: str) -> list[dict[str, Any]]:
    answer = server.request("GET", f"/api/v1/messages/{message_id}/deliveries", key=key)
    assert answer.status == 200, answer
    rows: list[dict[str, Any]] = answer.body["deliveries"]
    return rows


async def until_delivery(
    server: Server, key: str, message_id: str, state: str, attempts: int
) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            rows = await asyncio.to_thread(deliveries, server, key, message_id)
            if len(rows) == 1 and (rows[0]["state"], rows[0]["attempts"]) == (state, attempts):
                return rows[0]
            await asyncio.sleep(0.2)


async def test_what_is_not_acknowledged_comes_again_until_it_is_given_up(
    deployment: Deployment,
) -> None:
    key = make_key(deployment)
    deployment.manage(
        "policy", "orders.**", "--acknowledged", "--ack-timeout=1", "--ack-attempts=2"
    )
    server = deployment.start(NOTIFICATIONS_SWEEP_INTERVAL_SECONDS="1")
    async with session(server.socket_url, key, "shop") as client:
        await client.subscribe("orders.1.*")
        first = await asyncio.to_thread(server.publish, key, "orders.1.new", "first")
        message = await client.message()
        assert "replayed" not in message
        again = await client.message(timeout=20)
        assert (again["id"], again["replayed"]) == (message["id"], True)
        row = await until_delivery(server, key, first.body["id"], "undelivered", 2)
        assert (row["clientId"], row["reason"]) == ("shop", "not_acknowledged")
        # What is acknowledged does not come again.
        second = await asyncio.to_thread(server.publish, key, "orders.1.new", "second")
        message = await client.message()
        epoch = deployment.query("SELECT epoch FROM notifications_log")[0][0]
        partition, offset = message["position"]
        cursor = {"epoch": epoch, "offsets": {str(partition): offset}}
        await client.send({"type": "ack", "cursor": cursor})
        await until_delivery(server, key, second.body["id"], "acknowledged", 1)
        acked = deployment.query("SELECT acked FROM notifications_session")[0][0]
        acked = json.loads(acked) if isinstance(acked, str) else acked
        assert acked["offsets"][str(partition)] == offset


async def test_an_operator_has_a_range_delivered_again(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    for number in range(5):
        await asyncio.to_thread(server.publish, key, "user.1.orders", number)
    async with (
        session(server.socket_url, key, "subscribed") as client,
        session(server.socket_url, key, "elsewhere") as other,
    ):
        await client.subscribe("user.1.*")
        await other.subscribe("user.2.*")
        printed = await asyncio.to_thread(
            deployment.manage, "replay", "user.1.orders", "--after=1", "--before=5"
        )
        assert "3" in printed
        messages = await client.messages(3)
        assert [message["payload"] for message in messages] == [1, 2, 3]
        assert all(message["replayed"] for message in messages)
        await asyncio.to_thread(server.publish, key, "user.2.orders", "live")
        assert (await other.message())["payload"] == "live", "and nothing before it"
    lines = (await asyncio.to_thread(deployment.manage, "history", "user.1.orders")).splitlines()
    assert [json.loads(line)["payload"] for line in lines] == [0, 1, 2, 3, 4]


async def test_what_expires_or_is_purged_while_a_client_is_away(deployment: Deployment) -> None:
    key = make_key(deployment)
    deployment.manage("policy", "short.**", "--retention-count=2")
    server = deployment.start(NOTIFICATIONS_EMBEDDED_SWEEPS="off")
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key)
        await client.subscribe("short.1.*")
        await client.subscribe("long.1.*")
    past = {"metadata": {"expiresAt": "2020-01-01T00:00:00Z"}}
    for number in range(4):
        await asyncio.to_thread(server.publish, key, "long.1.a", number)
        await asyncio.to_thread(server.publish, key, "long.1.a", "late", **past)
    resume = {"sessionId": success["sessionId"], "cursor": success["cursor"]}

    async def back() -> tuple[list[Any], dict[str, Any]]:
        async with connect(server.socket_url) as again:
            await again.authenticate(key, resume=resume)
            payloads = []
            while (frame := await again.receive())["type"] == "message":
                payloads.append(frame["payload"])
            return payloads, frame

    payloads, complete = await back()
    assert (payloads, complete["recovered"]) == ([0, 1, 2, 3], True)
    await asyncio.to_thread(deployment.manage, "sweep")
    kept = deployment.query("SELECT COUNT(*) FROM notifications_message")
    assert kept == [(4,)], "the expired ones are gone"
    assert (await back())[0] == [0, 1, 2, 3], "and nobody missed them"
    # Two of four of another topic are purged: that is a loss for this client, and told.
    for number in range(4):
        await asyncio.to_thread(server.publish, key, "short.1.a", number)
    assert (await back())[1]["count"] == 8
    await asyncio.to_thread(deployment.manage, "sweep")
    payloads, complete = await back()
    assert (payloads, complete["recovered"]) == ([], False)
    assert complete["reason"] == "BEYOND_RETENTION"
    # A client that had come to the head has missed nothing, though its last message is gone.
    resume["cursor"] = complete["cursor"]
    deployment.manage("policy", "short.**", "--retention-count=1")
    await asyncio.to_thread(deployment.manage, "sweep")
    payloads, complete = await back()
    assert (payloads, complete["recovered"]) == ([], True)
