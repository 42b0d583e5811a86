"""Subscriptions that end, and others that follow them, while the server has not answered."""

import pytest

from bellwether_client import Last, SubscriptionOptions
from tests.client.fake_server import held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, refuse, settle


@virtual
async def test_what_came_and_went_while_away_is_not_remembered() -> None:
    async with World() as world:
        await world.connected()
        await world.client.disconnect()
        for number in range(1_000):
            world.client.subscribe(f"t{number}", Handler()).unsubscribe()
        assert len(world.client._core.subscriptions._left) == 0


@virtual
async def test_an_unsubscribe_that_was_refused_for_now_is_not_lost_with_the_connection() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await subscription.ready()
        subscription.unsubscribe()
        request = await socket.expect("unsubscribe")
        refuse(socket, request, "RATE_LIMITED", temporary=True, retryAfter=5_000)
        await settle()
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        await settle()
        assert world.told("orphan") == []


@pytest.mark.parametrize("refused", [False, True])
@virtual
async def test_other_options_after_all_have_left_while_it_was_asked_for(refused: bool) -> None:
    async with World() as world:
        socket = await world.connected()
        world.client.subscribe("a.*", Handler()).unsubscribe()
        options = SubscriptionOptions(max_replay_age=5)
        subscription = world.client.subscribe("a.*", Handler(), options)
        request = await socket.expect("subscribe")
        if refused:
            refuse(socket, request, "BAD_FRAME")
        else:
            grant(socket, request)
            assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        request = await socket.expect("subscribe")
        assert request["options"] == {"maxReplayAge": 5}
        grant(socket, request, "sub2")
        await subscription.ready()
        assert subscription.is_active()


@virtual
async def test_other_options_while_a_replay_of_the_first_runs_or_waits() -> None:
    async with World() as world:
        socket = await world.connected()
        last = SubscriptionOptions(since=Last(count=1))
        first, waiting = (world.client.subscribe(topic, Handler(), last) for topic in ("a.*", "b"))
        request = await socket.expect("subscribe")
        first.unsubscribe()
        waiting.unsubscribe()
        handler, options = Handler(), SubscriptionOptions(since=Last(count=2))
        world.client.subscribe("a.*", handler, options)
        world.client.subscribe("b", Handler())
        grant(socket, request)
        deliver(socket, 5, replayed=True)
        complete(socket, request["id"], count=1)
        request = await socket.expect("subscribe")
        assert (request["topic"], request.get("options")) == ("b", None)
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        request = await socket.expect("subscribe")
        assert (request["topic"], request["options"]) == ("a.*", {"since": {"last": 2}})
        grant(socket, request, "sub2")
        deliver(socket, 4, 5, replayed=True)
        complete(socket, request["id"], count=2)
        await settle()
        assert handler.payloads == [4, 5]


@virtual
async def test_other_options_after_all_have_left_and_the_connection_too() -> None:
    async with World() as world:
        socket = await world.connected()
        world.client.subscribe("a.*", Handler()).unsubscribe()
        options = SubscriptionOptions(max_replay_age=5)
        world.client.subscribe("a.*", Handler(), options)
        await socket.expect("subscribe")
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket)
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        assert (await socket.expect("subscribe"))["options"] == {"maxReplayAge": 5}
