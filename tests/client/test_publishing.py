"""Publishing: keys, order, what waits and what is refused here."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from bellwether_client import NotificationError, QueueConfig
from tests.client.fake_server import NOW
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import Handler, World, grant, refuse, settle


def publishing(world: World, payload: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(world.client.publish("a", payload))


def published(socket: MemorySocket, request: dict[str, Any], **fields: Any) -> None:
    socket.push("published", id=request["id"], messageId="m", topic="a", timestamp=NOW, **fields)


@virtual
async def test_what_goes_out_and_what_comes_back() -> None:
    async with World() as world:
        socket = await world.connected()
        task = asyncio.create_task(
            world.client.publish(
                "a.b",
                {"n": [1, None, "ü"]},
                priority="high",
                expires_at=datetime(2030, 1, 1, tzinfo=UTC),
                correlation_id="c",
                source="s",
                idempotency_key="k",
            )
        )
        request = await socket.expect("publish")
        assert request == {
            "type": "publish",
            "id": request["id"],
            "topic": "a.b",
            "payload": {"n": [1, None, "ü"]},
            "metadata": {
                "priority": "high",
                "expiresAt": "2030-01-01T00:00:00.000Z",
                "correlationId": "c",
                "source": "s",
            },
            "idempotencyKey": "k",
        }
        published(socket, request, seq=7, position=[0, 9], duplicate=True)
        found = await task
        assert (found.id, found.seq, found.position, found.duplicate) == ("m", 7, (0, 9), True)
        assert found.timestamp == datetime(2030, 1, 1, tzinfo=UTC)
        assert world.client.get_stats().messages_sent == 1


@virtual
async def test_a_half_sent_one_is_repeated_first_and_under_its_key() -> None:
    async with World() as world:
        socket = await world.connected()
        tasks = [publishing(world, 1)]
        first = await socket.expect("publish")
        socket.shut(1006)
        await settle()
        tasks.append(publishing(world, 2))
        socket = await world.accept(resumed=True)
        again, second = await socket.expect("publish"), await socket.expect("publish")
        assert again == first
        assert second["payload"] == 2
        assert second["idempotencyKey"] != first["idempotencyKey"]
        published(socket, again)
        published(socket, second)
        await asyncio.gather(*tasks)


@virtual
async def test_they_go_out_after_the_subscriptions_are_restored() -> None:
    async with World() as world:
        world.client.subscribe("a.*", Handler())
        task = publishing(world, 1)
        socket = await world.connected()
        request = await socket.expect("subscribe")
        await settle()
        assert socket.sent() == []
        grant(socket, request)
        published(socket, await socket.expect("publish"))
        await task


@virtual
async def test_a_refusal_raises() -> None:
    async with World() as world:
        socket = await world.connected()
        task = publishing(world, 1)
        refuse(socket, await socket.expect("publish"), "FORBIDDEN", message="No grant.")
        with pytest.raises(NotificationError, match="No grant") as refused:
            await task
        assert (refused.value.code, refused.value.temporary) == ("FORBIDDEN", False)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        ("a.*", 1, "BAD_TOPIC"),
        ("", 1, "BAD_TOPIC"),
        ("a", object(), "BAD_FRAME"),
        ("a", float("nan"), "BAD_FRAME"),
        ("a", b"bytes", "BAD_FRAME"),
        ("a", "\ud800", "BAD_FRAME"),
        ("a", nested(16), "BAD_FRAME"),
        ("a", nested(100_000), "BAD_FRAME"),
        ("a", {str(number): number for number in range(257)}, "BAD_FRAME"),
        ("a", "ü" * 33_000, "PAYLOAD_TOO_LARGE"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, list) else "nested",
)
@virtual
async def test_what_the_server_would_not_even_answer_is_not_sent(
    topic: str, payload: Any, code: str
) -> None:
    async with World() as world:
        socket = await world.connected()
        with pytest.raises(NotificationError) as refused:
            await world.client.publish(topic, payload)
        assert refused.value.code == code
        await settle()
        assert socket.sent() == []


@virtual
async def test_the_deepest_and_widest_that_the_server_takes_is_sent() -> None:
    async with World() as world:
        socket = await world.connected()
        for payload in (nested(15), {str(number): 1 for number in range(256)}):
            task = publishing(world, payload)
            published(socket, await socket.expect("publish"))
            await task


@virtual
async def test_the_bounds_of_the_queue_without_a_connection() -> None:
    config = QueueConfig(max_size=1, max_age=50, overflow_strategy="reject")
    async with World(queue_config=config) as world:
        waiting = publishing(world, 1)
        await settle()
        with pytest.raises(NotificationError, match="QUEUE_FULL"):
            await world.client.publish("a", 2)
        with pytest.raises(NotificationError, match="EXPIRED"):
            await waiting


@virtual
async def test_more_at_once_than_the_bound_on_a_connection_are_dropped_and_told_so() -> None:
    async with World(queue_config=QueueConfig(max_size=10)) as world:
        socket = await world.connected()
        tasks = [publishing(world, number) for number in range(100)]
        await settle()
        dropped = [task.exception() for task in tasks if task.done()]
        assert len(dropped) == 100 - 64 - 10
        assert str(dropped[0]) == (
            "DROPPED: More than 10 publishes wait for the server's answers."
            " Await some before you make more."
        )
        for _ in range(64 + 10):
            published(socket, await socket.expect("publish"))
        await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_one_that_nobody_awaits_any_more_is_withdrawn() -> None:
    async with World() as world:
        task = publishing(world, 1)
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        socket = await world.connected()
        await settle()
        assert socket.sent() == []


@virtual
async def test_a_time_without_a_zone_is_a_mistake() -> None:
    async with World() as world:
        with pytest.raises(ValueError, match="time zone"):
            await world.client.publish("a", 1, expires_at=datetime(2030, 1, 1))
