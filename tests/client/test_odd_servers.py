"""Servers, and publishers behind them, that send what nobody expects."""

import asyncio
import json
from typing import Any

import pytest

from bellwether_client import Cursor, Reconnecting
from bellwether_client.codec import MsgpackCodec
from tests.client.fake_server import auth_success, cursor
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, refuse, settle, wait

RARE = {"interval": 10_000_000, "timeout": 5_000}


@pytest.mark.parametrize("never", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "no"])
@virtual
async def test_a_time_that_python_does_not_know_is_no_reason_to_lose_a_message(never: str) -> None:
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 1, metadata={"expiresAt": never, "source": "shop"})
        deliver(socket, 2)
        await settle()
        assert handler.payloads == [1, 2]
        metadata = handler.messages[0].metadata
        assert metadata is not None
        assert (metadata.expires_at, metadata.source) == (None, "shop")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"type":"message","payload":' + "[" * 100_000 + "]" * 100_000 + "}",
        "{",
        "7",
        "[[]]",
        '{"type":7}',
        '{"type":"message","id":"m","topic":"a","timestamp":"now","payload":1}',
        '{"type":"gap","reason":"x","cursor":{"epoch":"e","offsets":{"-1":2}}}',
        json.dumps({"type": "token_expiring", "expiresIn": 10**400}),
    ],
    ids=lambda text: text[:30],
)
@virtual
async def test_what_cannot_be_read_is_left_out(text: str) -> None:
    async with World(auth=lambda: "token") as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        socket.push_text(text)
        deliver(socket, 1)
        await settle()
        assert handler.payloads == [1]
        assert len(world.told("unreadable_frame")) == 1


def test_nor_is_what_is_nested_too_deeply_in_messagepack() -> None:
    with pytest.raises(ValueError, match=r"."):
        MsgpackCodec().decode(b"\x91" * 100_000 + b"\x01")


@virtual
async def test_binary_on_a_text_connection_is_left_out() -> None:
    async with World() as world:
        socket = await world.connected()
        socket.push_text(b'{"type":"pong"}')  # type: ignore[arg-type]
        await settle()
        assert "binary" in world.told("unreadable_frame")[0].detail
        assert world.statuses()[-1] == "connected"


@virtual
async def test_pings_have_a_pause_whatever_the_server_says() -> None:
    async with World() as world:
        socket = await world.connected(heartbeat={"interval": 0, "timeout": 5_000})
        for _ in range(10):
            await wait(90)
            socket.push("pong", cursor={"epoch": "x1", "offsets": {}})
        assert len([frame for frame in socket.sent() if frame["type"] == "ping"]) < 10


@virtual
async def test_no_policy_of_a_server_keeps_it_away_for_longer_than_an_hour() -> None:
    retry = auth_success()["retry"] | {"initialDelay": 1e15, "maxDelay": 1e15}
    async with World(retry_config=None) as world:
        socket = await world.connected(retry=retry)
        socket.shut(1006)
        await settle()
        lost = world.client.get_connection_state()
        assert isinstance(lost, Reconnecting)
        assert lost.backoff_delay == 3_600_000


@virtual
async def test_a_subscribe_without_an_answer_holds_publishes_up_for_ten_seconds() -> None:
    async with World() as world:
        world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        await socket.expect("subscribe")
        publishing: asyncio.Task[Any] = asyncio.create_task(world.client.publish("b", 1))
        await wait(9_000)
        assert socket.sent() == []
        request = await socket.expect("publish")
        assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)
        socket.push(
            "published",
            id=request["id"],
            messageId="m",
            topic="b",
            timestamp="2030-01-01T00:00:00Z",
        )
        assert (await publishing).id == "m"


@pytest.mark.parametrize("kind", ["publish", "unsubscribe", "subscribe", "replay"])
@virtual
async def test_no_refusal_puts_a_request_off_for_more_than_an_hour(kind: str) -> None:
    async with World() as world:
        handler, place = Handler(), Cursor("x1", {})
        subscription = world.client.subscribe("a.*", handler)
        socket = await world.connected(heartbeat=RARE)
        grant(socket, await socket.expect("subscribe"))
        await settle()
        task: asyncio.Task[Any] | None = None
        match kind:
            case "publish":
                task = asyncio.create_task(world.client.publish("a", 1))
            case "unsubscribe":
                subscription.unsubscribe()
            case "replay":
                task = asyncio.create_task(world.client.replay(place))
            case "subscribe":  # of one that there was; a new one is refused for good
                socket.shut(1006)
                socket = await world.accept(sessionId="s2", cursor=cursor("x2"), heartbeat=RARE)
        request = await socket.expect(kind)
        if kind == "subscribe":
            complete(socket, (await socket.expect("replay"))["id"])
        refuse(socket, request, "RATE_LIMITED", temporary=True, retryAfter=1e12)
        await wait(3_599_000)
        assert kind not in [frame["type"] for frame in socket.sent()]
        await socket.expect(kind)
        if task is not None:
            task.cancel()
