"""What the client tells of how far its handlers have come."""

from typing import Any

from tests.client.fake_server import cursor, held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, deliver, grant, settle, wait


def acks(frames: list[dict[str, Any]]) -> list[Any]:
    return [frame["cursor"] for frame in frames if frame["type"] == "ack"]


@virtual
async def test_every_five_seconds_when_it_moved_and_at_the_end() -> None:
    async with World(acknowledge=True) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.connected(cursor=cursor(p0=4))
        grant(socket, await socket.expect("subscribe"))
        await wait(6_000)
        assert acks(socket.sent()) == []
        deliver(socket, 5)
        await settle()
        handler.goes_on.clear()
        deliver(socket, 6)
        await wait(9_000)
        assert acks(socket.sent()) == [cursor(p0=5)]
        await wait(6_000)
        assert acks(socket.sent()) == []
        handler.goes_on.set()
        await settle()
        await world.client.disconnect()
        assert acks(socket.sent()) == [cursor(p0=6)]


@virtual
async def test_a_resumed_session_is_told_again_and_a_new_one_is_not() -> None:
    async with World(acknowledge=True) as world:
        world.client.subscribe("a.*", Handler())
        socket = await world.connected(cursor=cursor(p0=4))
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 5)
        await wait(5_001)
        assert acks(socket.sent()) == [cursor(p0=5)]
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        await wait(5_001)
        assert acks(socket.sent()) == [cursor(p0=5)]


@virtual
async def test_only_where_it_is_wanted_and_with_a_connection() -> None:
    async with World() as world:
        socket = await world.connected()
        deliver(socket, 1)
        await wait(6_000)
        await world.client.disconnect()
        assert acks(socket.sent()) == []
    async with World(acknowledge=True) as world:
        socket = await world.connected()
        deliver(socket, 1)
        socket.shut(1006)
        await settle()
        await world.client.disconnect()
        assert acks(socket.sent()) == []
