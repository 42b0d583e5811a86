"""Cancellations that come at a bad time, get lost, or are of something else; and other loops."""

import asyncio
from typing import Any

import pytest

from bellwether_client import (
    Cursor,
    NotificationClient,
    NotificationClientConfig,
    NotificationError,
    NotificationMessage,
    SubscriptionOptions,
)
from bellwether_client.surroundings import Surroundings
from tests.client.fake_server import held
from tests.client.memory import MemorySocket, Network
from tests.client.virtual import virtual
from tests.client.world import (
    Handler,
    World,
    complete,
    deliver,
    grant,
    settle,
    wait,
)

Message = NotificationMessage[Any]


async def subscribed(world: World, *handlers: Any, **options: Any) -> MemorySocket:
    for handler in handlers:
        world.client.subscribe("a.*", handler, SubscriptionOptions(**options))
    socket = await world.connected()
    grant(socket, await socket.expect("subscribe"))
    await settle()
    return socket


def met_a_cancellation(*_: object) -> Any:
    """Do what the result of a task does that was cancelled."""
    raise asyncio.CancelledError


# --- In what the application gave ---------------------------------------------------------------


@virtual
async def test_a_function_that_meets_a_cancellation_has_failed_and_harms_nobody() -> None:
    async with World() as world:
        world.client.on_event(met_a_cancellation)
        world.client.on_state_change(met_a_cancellation)
        events: list[Any] = []
        world.client.on_event(events.append)
        other = Handler()
        socket = await subscribed(world, met_a_cancellation, other)
        deliver(socket, 1, 2)
        await settle()
        assert other.payloads == [1, 2]
        assert [event.type for event in events] == ["handler_error"] * 2
        assert world.client.get_cursor() == Cursor("x1", {"0": 2})
        await wait(100_000)
        assert world.client.get_stats().failures[0].reason == "timeout", "nobody answers pings"
        assert len(world.told("handler_error")) == 2


@virtual
async def test_a_filter_or_an_error_handler_that_meets_one_too() -> None:
    async with World() as world:
        handler = Handler(fails=(1,))
        socket = await subscribed(world, handler, on_error=met_a_cancellation)
        deliver(socket, 1, 2)
        await settle()
        assert handler.payloads == [1, 2]
        assert len(world.told("handler_error")) == 1


# --- Of handlers and tokens ---------------------------------------------------------------------


@virtual
async def test_a_handler_that_loses_a_cancellation_is_cancelled_again() -> None:
    async with World() as world:
        cancelled = 0

        async def handler(message: Message) -> None:
            nonlocal cancelled
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled += 1
                    if cancelled == 2:
                        raise

        socket = await subscribed(world, handler)
        deliver(socket, 1)
        await settle()
        await world.client.disconnect()
        assert cancelled == 2
        assert [task.get_name() for task in asyncio.all_tasks()] == [
            asyncio.current_task().get_name()  # type: ignore[union-attr]
        ]


@virtual
async def test_a_token_that_comes_after_its_connection_is_not_sent_on_the_next() -> None:
    gate = asyncio.Event()
    tokens = iter(["first", "late", "third"])

    async def token() -> str:
        found = next(tokens)
        while found == "late" and not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                pass  # as `asyncio.wait_for` may lose it
        return found

    async with World(auth=token) as world:
        socket = await world.connected()
        socket.push("token_expiring", expiresIn=60_000)
        await settle()
        socket.shut(4401)
        socket = await world.accept(resumed=True)
        gate.set()
        await settle()
        assert world.hello["token"] == "third"
        assert [frame["type"] for frame in socket.sent()] == []


@pytest.mark.parametrize("how", ["wait_for", "task"])
@virtual
async def test_a_handler_may_disconnect_by_way_of_another_task(how: str) -> None:
    async with World() as world:
        took = asyncio.get_running_loop().create_future()

        async def handler(message: Message) -> None:
            began = asyncio.get_running_loop().time()
            if how == "wait_for":
                await asyncio.wait_for(world.client.disconnect(), 60)
            else:
                await asyncio.create_task(world.client.disconnect())
            took.set_result(asyncio.get_running_loop().time() - began)

        socket = await subscribed(world, handler)
        deliver(socket, 1)
        assert await asyncio.wait_for(took, 60) < 1
        await settle()
        assert world.client.get_cursor() == Cursor("x1", {"0": 1}), "it is handled"


@virtual
async def test_a_task_that_outlives_its_message_gives_the_handler_no_more_time() -> None:
    async with World() as world:
        disconnecting: list[asyncio.Task[None]] = []
        cancelled = asyncio.Event()

        async def later() -> None:
            await wait(1_000)
            await world.client.disconnect()

        async def handler(message: Message) -> None:
            if message.payload == 1:
                disconnecting.append(asyncio.create_task(later()))
                return
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        socket = await subscribed(world, handler)
        deliver(socket, 1, 2)
        await wait(10_000)
        assert cancelled.is_set()
        await disconnecting[0]


# --- Of calls -----------------------------------------------------------------------------------


@virtual
async def test_a_replay_that_nobody_awaits_is_not_asked_for() -> None:
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(world.client.replay(Cursor("x1", {})), 1)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await settle()
        deliver(socket, 1)
        await settle()
        assert handler.payloads == [1], "nothing is held back for it"
        assert socket.sent() == []


@virtual
async def test_one_that_runs_comes_to_its_end_and_is_not_asked_for_on_the_next_connection() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        deliver(socket, 1)
        replaying = asyncio.create_task(world.client.replay(Cursor("x1", {})))
        request = await socket.expect("replay")
        replaying.cancel()
        deliver(socket, 1, 2, replayed=True)
        await settle()
        assert handler.payloads == [1, 1, 2], "2 comes in it alone"
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket)
        deliver(socket, 10)
        await settle()
        assert handler.payloads == [1, 1, 2, 10]
        assert request["id"] not in [frame.get("id") for frame in socket.sent()]
        assert socket.sent() == []


@virtual
async def test_connecting_waits_for_the_end_of_a_disconnect() -> None:
    async with World() as world:

        async def handler(message: Message) -> None:
            await wait(60_000)

        socket = await subscribed(world, handler)
        deliver(socket, 1)
        await settle()
        disconnecting = asyncio.create_task(world.client.disconnect())
        await settle()
        socket = await world.connected(resumed=True, subscriptions=[held("a.*")])
        assert disconnecting.done()
        assert 5 <= asyncio.get_running_loop().time() < 6
        await wait(20_000)
        assert world.statuses()[-1] == "connected"
        publishing = asyncio.create_task(world.client.publish("b", 1))
        assert (await socket.expect("publish"))["topic"] == "b"
        publishing.cancel()


@virtual
async def test_a_publish_during_a_disconnect_expires_as_any_other() -> None:
    async with World() as world:

        async def handler(message: Message) -> None:
            await wait(3_000)

        socket = await subscribed(world, handler)
        deliver(socket, 1)
        await settle()
        disconnecting = asyncio.create_task(world.client.disconnect())
        await settle()
        publishing = asyncio.create_task(world.client.publish("b", 1))
        await disconnecting
        async with asyncio.timeout(400):
            with pytest.raises(NotificationError, match="EXPIRED"):
                await publishing


# --- In other loops and threads -----------------------------------------------------------------


def test_another_loop_or_a_thread_is_told_so_rather_than_left_waiting() -> None:
    client = NotificationClient(
        NotificationClientConfig(url="ws://server/ws", auth="t"),
        surroundings=Surroundings(transport=Network()),
    )

    async def begin() -> None:
        connecting = asyncio.create_task(client.connect())
        await settle()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        assert client.get_connection_state().status == "connecting"

    async def publish() -> None:
        async with asyncio.timeout(5):
            await client.publish("a", 1)

    async def disconnect() -> None:
        await client.disconnect()

    with asyncio.Runner() as runner:
        runner.run(begin())
        for elsewhere in (client.connect, publish, disconnect):
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(elsewhere())
        with pytest.raises(RuntimeError, match="another event loop"):
            client.subscribe("a", print)
        runner.run(client.disconnect())
    asyncio.run(disconnect())  # it is free now
