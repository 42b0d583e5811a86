"""Disconnecting: graceful, bounded, and nothing is left. (`virtual` looks for tasks.)"""

import asyncio
from typing import Any

import pytest

from bellwether_client import ConnectionError, Cursor, MemoryStorage, NotificationMessage
from tests.client.fake_server import cursor, held
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, settle, wait


async def busy(world: World, handler: Any) -> MemorySocket:
    world.client.subscribe("a.*", handler)
    socket = await world.connected()
    grant(socket, await socket.expect("subscribe"))
    deliver(socket, 1, 2)
    await settle()
    return socket


@virtual
async def test_it_closes_with_1000_and_rejects_what_is_unanswered() -> None:
    async with World() as world:
        socket = await world.connected()
        publishing = asyncio.create_task(world.client.publish("a", 1))
        await settle()
        await world.client.disconnect()
        assert socket.close_code == 1000
        with pytest.raises(ConnectionError) as ended:
            await publishing
        assert ended.value.reason == "client_initiated"
        assert world.told("connection_ended") == []
        await world.client.disconnect()  # once more does nothing
        assert world.statuses() == ["connecting", "connected", "disconnected"]


@virtual
async def test_a_handler_that_ends_in_time_counts() -> None:
    async with World() as world:

        async def handler(message: NotificationMessage[Any]) -> None:
            await wait(3_000)

        await busy(world, handler)
        await world.client.disconnect()
        assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.1)
        assert world.client.get_cursor() == Cursor("x1", {"0": 1})


@virtual
async def test_a_handler_that_hangs_is_cancelled_and_does_not_count() -> None:
    async with World() as world:
        handler = Handler()
        handler.goes_on.clear()
        await busy(world, handler)
        await world.client.disconnect()
        assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)
        assert world.client.get_cursor() == Cursor("x1", {})
        assert world.told("handler_error") == []


@virtual
async def test_the_message_whose_handler_disconnects_counts() -> None:
    async with World() as world:

        async def handler(message: NotificationMessage[Any]) -> None:
            await world.client.disconnect()

        await busy(world, handler)
        await settle()
        assert world.client.get_cursor() == Cursor("x1", {"0": 1})


@virtual
async def test_after_it_what_was_not_handled_comes_again() -> None:
    async with World() as world:
        handler = Handler()
        handler.goes_on.clear()
        await busy(world, handler)
        await world.client.disconnect()
        handler.goes_on.set()
        socket = await world.connected(resumed=True, subscriptions=[held("a.*")])
        assert world.hello["resume"]["cursor"] == cursor()
        deliver(socket, 1, 2, replayed=True)
        await settle()
        assert handler.payloads == [1, 1, 2]


@pytest.mark.parametrize("moment", ["token", "opening", "auth", "waiting"])
@virtual
async def test_it_ends_whatever_is_under_way(moment: str) -> None:
    never = asyncio.Event()

    async def token() -> str:
        if moment == "token":
            await never.wait()
        return "token"

    async with World(auth=token) as world:
        connecting = world.connecting()
        if moment == "opening":
            world.network.open = lambda url, subprotocol: never.wait()  # type: ignore[method-assign,assignment,return-value]
        if moment in ("auth", "waiting"):
            socket = await world.network.socket()
        if moment == "waiting":
            socket.push("disconnect", code=1013, reason="full", reconnect=True, retryAfter=10**6)
            socket.shut(1013)
        await settle()
        await world.client.disconnect()
        with pytest.raises(ConnectionError):
            await connecting
        assert world.statuses()[-1] == "disconnected"


@virtual
async def test_cancelling_async_with_disconnects() -> None:
    world = World()

    async def use() -> None:
        async with world.client:
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    socket = await world.accept()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert socket.close_code == 1000


@virtual
async def test_cancelling_the_start_leaves_nothing() -> None:
    world = World()

    async def use() -> None:
        async with world.client:
            raise AssertionError("it is not connected")

    task = asyncio.create_task(use())
    await world.network.socket()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual
async def test_a_peer_that_takes_no_leave_does_not_hold_it_up() -> None:
    async with World() as world:
        socket = await world.connected()

        async def never(code: int) -> None:
            await asyncio.Event().wait()

        socket.close = never  # type: ignore[method-assign]
        await world.client.disconnect()
        assert asyncio.get_running_loop().time() == pytest.approx(2, abs=0.1)
        assert not socket.is_open


@virtual
async def test_a_mistake_of_the_client_is_told_and_ends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World() as world:
        socket = await world.connected()
        world.client._core.inbox.message = None  # type: ignore[method-assign,assignment]
        deliver(socket, 1)
        await settle()
        (ended,) = world.told("connection_ended")
        assert "The client failed" in str(ended.error)
    assert "the client failed" in caplog.text


@virtual
async def test_what_is_not_read_is_bounded() -> None:
    async with World() as world:
        socket = await world.connected()

        async def never(data: str | bytes) -> None:
            await asyncio.Event().wait()

        socket.send = never  # type: ignore[method-assign]
        for number in range(10_002):
            world.client.unsubscribe(world.client.subscribe(f"t{number}", Handler()).id)
        await settle()
        assert not socket.is_open
        assert world.client.get_stats().failures[-1].reason == "timeout"


# --- An end for good ----------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["before", "after"])
@virtual
async def test_after_an_end_for_good_nothing_is_waited_for_until_connecting_again(
    asked: str,
) -> None:
    async with World() as world:
        socket = await world.connected()
        subscription = world.client.subscribe("a.*", Handler())
        stream = world.client.stream("b")
        waiting: list[asyncio.Future[Any]] = []

        def ask() -> None:
            replaying = world.client.replay(Cursor("x1", {}))
            for one in (subscription.ready(), stream.ready(), anext(stream), replaying):
                waiting.append(asyncio.ensure_future(one))

        if asked == "before":
            ask()
            await settle()
        socket.shut(4503)
        await settle()
        if asked == "after":
            ask()
            await settle()
        assert [type(one.exception()) for one in waiting] == [ConnectionError] * 4
        assert {one.exception().close_code for one in waiting} == {4503}  # type: ignore[union-attr]
        assert subscription.is_active()
        socket = await world.connected()
        for number in range(2):
            grant(socket, await socket.expect("subscribe"), f"sub{number}")
        await subscription.ready()


@virtual
async def test_who_waits_for_a_confirmation_is_told_of_a_disconnect_and_may_ask_again() -> None:
    async with World() as world:
        await world.connected()
        subscription = world.client.subscribe("a.*", Handler())
        ready = asyncio.create_task(subscription.ready())
        await settle()
        await world.client.disconnect()
        with pytest.raises(ConnectionError) as ended:
            await ready
        assert ended.value.reason == "client_initiated"
        again = asyncio.create_task(subscription.ready())  # the application connects when it likes
        await settle()
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await again


@virtual
async def test_a_stream_that_is_begun_between_two_connections_is_of_the_second() -> None:
    async with World() as world:
        socket = await world.connected()
        socket.shut(4503)
        await settle()
        stream = world.client.stream("a.*")
        with pytest.raises(ConnectionError):
            await anext(stream)
        socket = await world.connected(resumed=True)
        complete(socket)
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 10)
        async with asyncio.timeout(10):
            assert (await anext(stream)).payload == 10


@virtual
async def test_what_nobody_listens_for_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Full(MemoryStorage):
        async def set(self, key: str, text: str) -> None:
            raise OSError("disk full")

    async def play(world: World) -> None:
        world.client.subscribe("a..b", Handler())
        socket = await world.connected(cursor=cursor(p0=9))
        socket.push("gap", reason="TOO_SLOW", topic="a.b", cursor=cursor(p0=9))
        socket.shut(4503)
        await settle()

    async with World(storage=Full()) as heard:
        await play(heard)
        assert len(heard.events) == 4
    assert caplog.text == ""
    async with World(storage=Full()) as world:
        world.client._core.events._listeners.clear()
        await play(world)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 4
    for line, word in zip(lines, ("BAD_TOPIC", "disk full", "TOO_SLOW", "4503"), strict=True):
        assert word in line
