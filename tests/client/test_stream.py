"""Messages as an asynchronous iterator."""

import asyncio
from typing import Any

import pytest

from bellwether_client import ConnectionError, Cursor, MessageStream, NotificationError
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import World, deliver, grant, refuse, settle


async def streaming(world: World) -> tuple[MessageStream, MemorySocket]:
    stream = world.client.stream("a.*")
    socket = await world.connected()
    grant(socket, await socket.expect("subscribe"))
    await stream.ready()
    return stream, socket


@virtual
async def test_a_message_counts_as_handled_when_the_next_is_asked_for() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        deliver(socket, 1, 2, 3)
        places: list[Any] = []
        async for message in stream:
            await settle()
            places.append((message.payload, world.client.get_cursor()))
            if message.payload == 3:
                break
        assert places == [
            (1, Cursor("x1", {})),
            (2, Cursor("x1", {"0": 1})),
            (3, Cursor("x1", {"0": 2})),
        ]


@virtual
async def test_closing_it_ends_the_subscription() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        async with stream:
            deliver(socket, 1, 2)
            assert (await anext(stream)).payload == 1
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        await settle()
        assert world.client.get_cursor() == Cursor("x1", {"0": 2})
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@virtual
async def test_disconnecting_ends_it_and_what_was_in_hand_comes_again() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        deliver(socket, 1, 2)
        await anext(stream)
        async with asyncio.timeout(1):  # what the consumer has in hand holds nothing up
            await world.client.disconnect()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert world.client.get_cursor() == Cursor("x1", {})
        assert "unsubscribe" not in [frame["type"] for frame in socket.sent()]


@virtual
async def test_whoever_waits_is_told_of_the_end() -> None:
    async with World() as world:
        stream, _ = await streaming(world)
        waiting = asyncio.ensure_future(anext(stream))
        await settle()
        await world.client.disconnect()
        with pytest.raises(StopAsyncIteration):
            await waiting


@virtual
async def test_a_refusal_is_raised() -> None:
    async with World() as world:
        stream = world.client.stream("a.*")
        socket = await world.connected()
        refuse(socket, await socket.expect("subscribe"), "FORBIDDEN")
        with pytest.raises(NotificationError, match="FORBIDDEN"):
            await anext(stream)


@virtual
async def test_what_came_before_the_end_of_the_connection_is_given_first() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        deliver(socket, 1, 2)
        socket.shut(4503)
        await settle()
        assert [(await anext(stream)).payload for _ in range(2)] == [1, 2]
        with pytest.raises(ConnectionError, match="4503"):
            await anext(stream)


@virtual
async def test_it_goes_on_over_connections() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        deliver(socket, 1)
        assert (await anext(stream)).payload == 1
        socket.shut(1006)
        waiting = asyncio.ensure_future(anext(stream))
        socket = await world.accept(
            resumed=True,
            subscriptions=[
                {
                    "subscriptionId": "sub1",
                    "topic": "a.*",
                    "options": {},
                    "createdAt": "2030-01-01T00:00:00.000Z",
                }
            ],
        )
        deliver(socket, 1, 2, replayed=True)
        assert (await waiting).payload == 2


@virtual
async def test_one_that_waited_for_its_consumer_is_not_handled_before_he_has_had_it() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        deliver(socket, 1, 2)
        await settle()  # nobody has asked yet
        for offset in (0, 1):
            assert (await anext(stream)).payload == offset + 1
            await settle()
            assert world.client.get_cursor() == Cursor("x1", {"0": offset} if offset else {})


@virtual
async def test_a_consumer_that_gave_up_waiting_gets_it_the_next_time() -> None:
    async with World() as world:
        stream, socket = await streaming(world)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 1)
        waiting = asyncio.ensure_future(anext(stream))
        await settle()
        deliver(socket, 1)
        while not stream._changed.is_set():
            await asyncio.sleep(0)
        waiting.cancel()  # in the turn in which it would have had it
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await anext(stream)).payload == 1
        await settle()
        assert world.client.get_cursor() == Cursor("x1", {})
