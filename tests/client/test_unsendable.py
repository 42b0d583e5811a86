"""What no server could read, in the options of a subscription and in a replay: refused here."""

import asyncio
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from bellwether_client import (
    ConnectionError,
    Cursor,
    NotificationClientConfig,
    NotificationError,
    RetryConfig,
    SubscriptionOptions,
)
from tests.client.fake_server import NOW, held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, grant, settle

DEEP: Any = 1
for _ in range(100):
    DEEP = {"not": DEEP}


@pytest.mark.parametrize(
    "tree",
    [
        {"gte": ["payload.price", Decimal("9.5")]},
        {"gte": ["payload.price", float("nan")]},
        {"eq": ["payload.name", "\ud83d"]},
        {"in": ["payload.name", {"a", "b"}]},
        {"in": ["payload.name", ["x" * 100] * 1_000]},
        DEEP,
        5j,
    ],
    ids=["decimal", "nan", "surrogate", "set", "large", "deep", "complex"],
)
@virtual
async def test_a_filter_that_cannot_be_sent_costs_its_subscription_alone(tree: Any) -> None:
    async with World() as world:
        bad = SubscriptionOptions(server_filter=tree)
        before = world.client.subscribe("b", Handler(), bad)
        good = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        request = await socket.expect("subscribe")
        assert request["topic"] == "a.*"
        grant(socket, request)
        await good.ready()
        while_connected = world.client.subscribe("b", Handler(), bad)
        for subscription in (before, while_connected):
            with pytest.raises(NotificationError, match="BAD_FRAME"):
                await subscription.ready()
        ended = [event.subscription for event in world.told("subscription_ended")]
        assert ended == [before, while_connected]
        await settle()
        assert socket.sent() == []
        # The topic is free for one that can be sent.
        world.client.subscribe("b", Handler())
        assert (await socket.expect("subscribe"))["topic"] == "b"


@virtual
async def test_what_changes_after_subscribing_is_not_sent() -> None:
    async with World() as world:
        names = ["ada"]
        options = SubscriptionOptions(server_filter=MappingProxyType({"in": ["payload.n", names]}))
        world.client.subscribe("a", Handler(), options)
        names.append("eve")
        socket = await world.connected()
        request = await socket.expect("subscribe")
        assert request["options"] == {"filter": {"in": ["payload.n", ["ada"]]}}


@virtual
async def test_a_filter_of_tuples_is_the_one_that_the_server_holds() -> None:
    async with World() as world:
        options = SubscriptionOptions(server_filter={"eq": ("payload.n", 1)})
        world.client.subscribe("a", Handler(), options)
        row = held("a", filter={"eq": ["payload.n", 1]})
        socket = await world.connected(subscriptions=[row])
        await settle()
        assert socket.sent() == [], "it is not ended there, and asked for anew"


@pytest.mark.parametrize(
    ("cursor", "age"),
    [
        (Cursor("\ud800", {}), None),
        (Cursor("x1", {"0": Decimal(1)}), None),  # type: ignore[dict-item]
        (Cursor("x1", {}), Decimal(5)),
    ],
)
@virtual
async def test_a_replay_that_cannot_be_asked_for_is_refused_with_or_without_a_connection(
    cursor: Cursor, age: Any
) -> None:
    async with World() as world:
        for _ in range(2):
            with pytest.raises(NotificationError, match="BAD_FRAME"):
                await world.client.replay(cursor, max_replay_age=age)
            if not world.states:
                socket = await world.connected()
        publishing = asyncio.create_task(world.client.publish("a", 1))
        request = await socket.expect("publish")
        socket.push("published", id=request["id"], messageId="m", topic="a", timestamp=NOW)
        await publishing
        assert socket.sent() == []


@virtual
async def test_half_a_character_in_a_token_is_no_token_and_gets_into_no_message() -> None:
    with pytest.raises(ValueError, match="auth is"):
        NotificationClientConfig(url="ws://server/ws", auth="s3cr3t\ud800")
    async with World(auth=lambda: "s3cr3t\ud800", retry_config=RetryConfig(max_retries=1)) as world:
        with pytest.raises(ConnectionError, match="no text") as failed:
            await world.client.connect()
        assert "s3cr3t" not in f"{failed.value!r} {world.client.get_stats().failures}"
