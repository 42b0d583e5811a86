"""What a restored subscription asks for: other options than before, or the rest of a replay."""

import json
from typing import Any

import pytest

from bellwether_client import Cursor, Last, MemoryStorage, SubscriptionOptions
from tests.client.fake_server import cursor, held
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, settle, wait

KEY = "bellwether.ws://server/ws"
FILTER: dict[str, Any] = {"in": ["payload.kind", [{"b": 1, "a": 2}]]}
SINCE = SubscriptionOptions(since=Cursor("x1", {"0": 2}))
NEWEST = SubscriptionOptions(since=Last(count=3))


async def stored(storage: MemoryStorage) -> Any:
    text = await storage.get(KEY)
    assert text is not None
    return json.loads(text)["subscriptions"]


async def first_run(
    storage: MemoryStorage,
    options: SubscriptionOptions,
    *offsets: int,
    handler: Handler | None = None,
) -> None:
    """Subscribe, and be cut off in the replay that this brings, after so much of it."""
    world = World(storage=storage)
    world.client.subscribe("a.*", handler or Handler(), options)
    socket = await world.connected(cursor=cursor(p0=10))
    grant(socket, await socket.expect("subscribe"))
    deliver(socket, *offsets, replayed=True)
    await wait(300)
    socket.shut(1006)
    await world.client.disconnect()


async def resumed(world: World, *rows: dict[str, Any]) -> MemorySocket:
    return await world.connected(resumed=True, cursor=cursor(p0=10), subscriptions=list(rows))


# --- Options that have changed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ({"server_filter": FILTER}, {"filter": {"in": ["payload.kind", [{"a": 2, "b": 1}]]}}),
        ({}, {"filter": None, "batch": None, "maxReplayAge": None}),
        ({}, {"since": cursor(p0=2), "replayMissed": True}),
        ({"replay_missed": False}, {}),
        ({"replay_missed": True}, {}),
        ({"since": Last(count=2)}, {}),
    ],
)
@virtual
async def test_what_the_server_holds_is_left_as_it_is_where_it_sends_what_is_wanted(
    wanted: dict[str, Any], there: dict[str, Any]
) -> None:
    storage = MemoryStorage()
    await first_run(storage, SubscriptionOptions())
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", Handler(), SubscriptionOptions(**wanted))
        socket = await resumed(world, held("a.*", **there))
        complete(socket, cursor=cursor(p0=10))
        await settle()
        assert [frame["type"] for frame in socket.sent()] == ["verify"]


@pytest.mark.parametrize(
    "there",
    [{"replayMissed": False}, {"filter": {"eq": ["payload.a", True]}}, {"batch": {"maxSize": 2}}],
)
@virtual
async def test_what_the_server_holds_otherwise_is_asked_for_anew_on_each_connection(
    there: dict[str, Any],
) -> None:
    wanted: dict[str, Any] = (
        {"server_filter": {"eq": ["payload.a", 1]}} if "filter" in there else {}
    )
    options = SubscriptionOptions(**wanted)
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, options)
        socket = await world.connected(cursor=cursor(p0=4))
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 5)
        await settle()
        socket.shut(1006)
        row = held("a.*", "sub1", **options.to_wire() | there)
        socket = await world.accept(resumed=True, subscriptions=[row])
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        complete(socket, cursor=cursor(p0=6))
        request = await socket.expect("subscribe")
        assert request["options"] == options.to_wire() | {"since": cursor(p0=5)}
        grant(socket, request, "sub2")
        deliver(socket, 6, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=6))
        deliver(socket, 7)
        await settle()
        assert handler.payloads == [5, 6, 7]


@virtual
async def test_a_late_handler_with_other_options_gets_by_these_what_waited_for_it() -> None:
    async with World() as world:
        socket = await world.connected(subscriptions=[held("a.*")], cursor=cursor(p0=10))
        deliver(socket, 11, 12)
        await settle()
        handler = Handler()
        options = SubscriptionOptions(server_filter=FILTER)
        world.client.subscribe("a.*", handler, options)
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        request = await socket.expect("subscribe")
        assert request["options"] == options.to_wire() | {"since": cursor(p0=10)}
        grant(socket, request, "sub2")
        deliver(socket, 12, replayed=True)  # 11 is not what it wants
        complete(socket, request["id"], count=1, cursor=cursor(p0=12))
        deliver(socket, 13)
        await settle()
        assert handler.payloads == [12, 13]
        assert world.client.get_cursor() == Cursor("x1", {"0": 13})
        assert world.client.get_stats().waiting == 0


@virtual
async def test_a_late_handler_with_other_options_that_comes_while_away() -> None:
    async with World() as world:
        socket = await world.connected(subscriptions=[held("a.*")], cursor=cursor(p0=10))
        deliver(socket, 11, 12)
        await settle()
        socket.shut(1006)
        await settle()
        handler = Handler()
        world.client.subscribe("a.*", handler, SubscriptionOptions(server_filter=FILTER))
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket, cursor=cursor(p0=12))
        await socket.expect("unsubscribe")
        request = await socket.expect("subscribe")
        assert request["options"]["since"] == cursor(p0=10)
        grant(socket, request, "sub2")
        deliver(socket, 12, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=12))
        await settle()
        assert handler.payloads == [12]


@virtual
async def test_a_late_handler_with_other_options_after_a_stream_has_ended() -> None:
    async with World() as world:
        world.client.stream("a.*")
        socket = await world.connected(cursor=cursor(p0=10))
        grant(socket, await socket.expect("subscribe"))
        await settle()
        await world.client.disconnect()
        socket = await resumed(world, held("a.*"))
        complete(socket, cursor=cursor(p0=10))
        deliver(socket, 11)
        await settle()
        handler = Handler()
        world.client.subscribe("a.*", handler, SubscriptionOptions(server_filter=FILTER))
        await socket.expect("unsubscribe")
        request = await socket.expect("subscribe")
        grant(socket, request, "sub2")
        complete(socket, request["id"], cursor=cursor(p0=11))  # 11 is not what it wants
        await settle()
        assert handler.payloads == []


@virtual
async def test_a_late_handler_is_compared_with_what_the_server_holds_now() -> None:
    storage = MemoryStorage()
    await first_run(storage, SubscriptionOptions(max_replay_age=5))
    async with World(storage=storage) as world:
        socket = await resumed(world, held("a.*"))
        complete(socket, cursor=cursor(p0=10))
        await settle()
        await world.client.subscribe("a.*", Handler()).ready()
        assert [frame["type"] for frame in socket.sent()] == ["verify"]


@virtual
async def test_a_late_handler_that_wants_nothing_missed_has_what_comes_from_now_on() -> None:
    async with World() as world:
        there = held("a.*", maxReplayAge=5)
        socket = await world.connected(subscriptions=[there], cursor=cursor(p0=10))
        deliver(socket, 11)
        await settle()
        handler = Handler()
        world.client.subscribe("a.*", handler, SubscriptionOptions(replay_missed=False))
        request = await socket.expect("unsubscribe")
        request = await socket.expect("subscribe")
        assert request["options"] == {"replayMissed": False}
        grant(socket, request, "sub2")
        deliver(socket, 12)
        await settle()
        assert handler.payloads == [12]


# --- The rest of a replay -----------------------------------------------------------------------


@virtual
async def test_a_replay_goes_on_after_a_restart_behind_what_its_handler_had() -> None:
    storage = MemoryStorage()
    await first_run(storage, SINCE, 3, 4)
    assert [row["replayFrom"] for row in await stored(storage)] == [cursor(p0=4)]
    async with World(storage=storage) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        socket = await resumed(world, held("a.*", since=cursor(p0=2)))
        deliver(socket, 11, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=11))
        request = await socket.expect("replay")
        assert (request["cursor"], request["subscriptionId"]) == (cursor(p0=4), "sub1")
        deliver(socket, 5, 11, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=11))
        deliver(socket, 12)
        await wait(300)
        assert handler.payloads == [5, 11, 12]
        assert "replayFrom" not in (await stored(storage))[0]


@virtual
async def test_what_replay_missed_brings_goes_on_after_a_restart() -> None:
    storage = MemoryStorage()
    missed = SubscriptionOptions(replay_missed=True)
    await first_run(storage, missed)
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", Handler(), missed)
        socket = await resumed(world, held("a.*", replayMissed=True))
        complete(socket, cursor=cursor(p0=11))
        assert (await socket.expect("replay"))["cursor"] == cursor(p0=10)


@virtual
async def test_a_slow_handler_keeps_the_place_until_it_has_had_all() -> None:
    storage, handler = MemoryStorage(), Handler()
    handler.goes_on.clear()
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", handler, SINCE)
        socket = await world.connected(cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        grant(socket, request)
        deliver(socket, 3, 4, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=10))
        await wait(300)
        assert (await stored(storage))[0]["replayFrom"] == cursor(p0=2)
        handler.goes_on.set()
        await wait(300)
        assert handler.payloads == [3, 4]
        assert "replayFrom" not in (await stored(storage))[0]


@virtual
async def test_a_place_in_a_replay_is_kept_while_another_goes_on_behind_it() -> None:
    storage, handler = MemoryStorage(), Handler()
    handler.goes_on.clear()
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", handler, SINCE)
        socket = await world.connected(cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        grant(socket, request)
        deliver(socket, 3, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=10))
        await settle()
        socket.shut(1006)
        socket = await world.accept(resumed=True)  # the server has lost the subscription
        complete(socket, cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        assert request["options"] == {"since": cursor(p0=2)}
        grant(socket, request, "sub2")
        deliver(socket, 3, 11, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=11))
        await wait(300)
        assert (await stored(storage))[0]["replayFrom"] == cursor(p0=2)
        handler.goes_on.set()
        await settle()
        assert handler.payloads == [3, 11]


@pytest.mark.parametrize("is_whole", [True, False])
@virtual
async def test_what_a_disconnect_let_go_of_a_first_replay_comes_with_the_next_connect(
    is_whole: bool,
) -> None:
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        socket = await world.connected(cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        grant(socket, request)
        deliver(socket, 3, replayed=True)
        await settle()
        handler.goes_on.clear()
        deliver(socket, 4, 5, replayed=True)
        if is_whole:
            complete(socket, request["id"], count=3, cursor=cursor(p0=10))
        await settle()
        await world.client.disconnect()
        handler.goes_on.set()
        socket = await resumed(world, held("a.*"))
        complete(socket, cursor=cursor(p0=10))
        request = await socket.expect("replay")
        assert request["cursor"] == cursor(p0=3)
        deliver(socket, 4, 5, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=10))
        await settle()
        assert handler.payloads == [3, 4, 4, 5]


@virtual
async def test_the_rest_of_a_replay_waits_for_a_handler_that_comes_late() -> None:
    storage = MemoryStorage()
    await first_run(storage, SINCE, 3, 4)
    async with World(storage=storage) as world:
        socket = await resumed(world, held("a.*", since=cursor(p0=2)))
        deliver(socket, 11, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=11))
        deliver(socket, 12)
        await settle()
        assert [frame["type"] for frame in socket.sent()] == ["verify"]
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        request = await socket.expect("replay")
        deliver(socket, 5, 11, 12, replayed=True)
        complete(socket, request["id"], count=3, cursor=cursor(p0=12))
        deliver(socket, 13)
        await settle()
        assert handler.payloads == [5, 11, 12, 13]


@pytest.mark.parametrize("rows", [(), (held("a.*", maxReplayAge=5),)])
@virtual
async def test_the_rest_comes_with_a_subscription_that_begins_anew(rows: Any) -> None:
    storage = MemoryStorage()
    await first_run(storage, SINCE, 3, 4)
    async with World(storage=storage) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        socket = await resumed(world, *rows)
        if rows:
            await socket.expect("unsubscribe")
        complete(socket, cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        assert request["options"] == {"since": cursor(p0=4)}
        grant(socket, request, "sub2")
        deliver(socket, 5, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=10))
        await settle()
        assert handler.payloads == [5]


@virtual
async def test_the_newest_are_asked_for_as_such_where_the_server_lost_them() -> None:
    storage = MemoryStorage()
    await first_run(storage, NEWEST, 8)
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", Handler(), NEWEST)
        socket = await resumed(world)
        complete(socket, cursor=cursor(p0=10))
        assert (await socket.expect("subscribe"))["options"] == {"since": {"last": 3}}


@pytest.mark.parametrize("is_confirmed", [True, False])
@virtual
async def test_the_newest_that_the_server_lost_with_its_subscription_are_a_gap(
    is_confirmed: bool,
) -> None:
    async with World() as world:
        world.client.subscribe("a.*", Handler(), NEWEST)
        socket = await world.connected(cursor=cursor(p0=10))
        request = await socket.expect("subscribe")
        if is_confirmed:
            grant(socket, request)
        await settle()
        socket.shut(1006)
        socket = await world.accept(resumed=True)
        complete(socket, cursor=cursor(p0=12))
        request = await socket.expect("subscribe")
        if is_confirmed:
            assert request["options"] == {"since": cursor(p0=10)}
            assert [gap.reason for gap in world.told("gap")] == ["CONNECTION_LOST"]
        else:  # it never began
            assert request["options"] == {"since": {"last": 3}}
            assert world.told("gap") == []


@virtual
async def test_what_comes_anew_to_an_orphan_waits_for_its_handler() -> None:
    storage = MemoryStorage()
    await first_run(storage, SubscriptionOptions())
    async with World(storage=storage) as world:
        socket = await resumed(world)
        complete(socket, cursor=cursor(p0=12))
        request = await socket.expect("subscribe")
        assert request["options"] == {"since": cursor(p0=10)}
        grant(socket, request, "sub2")
        deliver(socket, 11, 12, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=12))
        deliver(socket, 13)
        await wait(300)
        assert (await stored(storage))[0]["replayFrom"] == cursor(p0=10)
        handler = Handler()
        world.client.subscribe("a.*", handler)
        await settle()
        assert handler.payloads == [11, 12, 13]


@virtual
async def test_what_waits_for_a_handler_and_is_then_replayed_comes_once_and_in_order() -> None:
    storage = MemoryStorage()
    await first_run(storage, SINCE, 3)
    async with World(storage=storage) as world:
        socket = await resumed(world, held("a.*"))
        deliver(socket, 11, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=11))
        await settle()
        socket.shut(1006)
        socket = await world.accept(resumed=True)  # the server has lost the subscription
        complete(socket, cursor=cursor(p0=11))
        request = await socket.expect("subscribe")
        assert request["options"] == {"since": cursor(p0=3)}
        grant(socket, request, "sub2")
        deliver(socket, 4, 11, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=11))
        deliver(socket, 12)
        await settle()
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        await settle()
        assert handler.payloads == [4, 11, 12]
        assert world.client.get_stats().waiting == 0


@virtual
async def test_what_a_resume_brings_of_a_replay_that_goes_on_is_not_given_twice() -> None:
    storage = MemoryStorage()
    await first_run(storage, SINCE, 3, 11)
    state = json.loads(await storage.get(KEY) or "")
    state["cursor"] = cursor(p0=10)  # as where another handler is slower
    await storage.set(KEY, json.dumps(state))
    async with World(storage=storage) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SINCE)
        socket = await resumed(world, held("a.*", since=cursor(p0=2)))
        deliver(socket, 11, 12, replayed=True)
        complete(socket, count=2, cursor=cursor(p0=12))
        request = await socket.expect("replay")
        assert request["cursor"] == cursor(p0=11)
        deliver(socket, 12, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=12))
        await settle()
        assert handler.payloads == [12]
