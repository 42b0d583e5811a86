"""Subscriptions that end, and others that follow them, while the server has not answered."""

import pytest

from bellwether_client import Last, MemoryStorage, SubscriptionOptions
from tests.client.fake_server import cursor, held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, refuse, settle


@virtual
async def test_of_more_topics_than_are_noted_while_away_the_rest_are_orphans() -> None:
    async with World() as world:
        for number in range(1_001):
            world.client.subscribe(f"t{number}", Handler()).unsubscribe()
        rows = [held("t999", "sub1"), held("t1000", "sub2")]
        socket = await world.connected(subscriptions=rows)
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        assert [event.topic for event in world.told("orphan")] == ["t1000"]


@pytest.mark.parametrize("is_answered", [True, False])
@virtual
async def test_an_unsubscribe_without_an_answer_is_made_good_on_the_next_connection(
    is_answered: bool,
) -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await subscription.ready()
        subscription.unsubscribe()
        await socket.expect("unsubscribe")
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        request = await socket.expect("unsubscribe")
        assert world.told("orphan") == []
        if is_answered:
            socket.push("unsubscribed", id=request["id"], subscriptionId="sub1")
        else:  # others begin one in its place
            socket.push("subscribed", **held("a.*", "sub2"), cursor=cursor())
        await settle()
        socket.shut(1006)
        await world.accept(resumed=True, subscriptions=[held("a.*", "sub2")])
        assert [event.topic for event in world.told("orphan")] == ["a.*"]


@virtual
async def test_who_comes_back_while_away_begins_anew() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await subscription.ready()
        socket.shut(1006)
        await settle()
        subscription.unsubscribe()
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        deliver(socket, 1, replayed=True)  # of the old one
        complete(socket, count=1, cursor=cursor(p0=1))
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        request = await socket.expect("subscribe")
        assert "options" not in request
        grant(socket, request, "sub2")
        deliver(socket, 2)
        await settle()
        assert handler.payloads == [2]


@virtual
async def test_who_comes_back_before_the_answer_begins_anew_too() -> None:
    async with World() as world:
        socket = await world.connected()
        world.client.subscribe("a.*", Handler()).unsubscribe()
        handler = Handler()
        world.client.subscribe("a.*", handler)
        grant(socket, await socket.expect("subscribe"))
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        deliver(socket, 1)
        grant(socket, await socket.expect("subscribe"), "sub2")
        deliver(socket, 2)
        await settle()
        assert handler.payloads == [2]


@virtual
async def test_who_comes_back_before_an_answer_that_is_lost_begins_anew_too() -> None:
    async with World() as world:
        socket = await world.connected()
        world.client.subscribe("a.*", Handler()).unsubscribe()
        world.client.subscribe("a.*", Handler())
        await socket.expect("subscribe")
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        await socket.expect("subscribe")


@virtual
async def test_who_comes_back_after_a_restart_begins_anew() -> None:
    storage = MemoryStorage()
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await settle()
    async with World(storage=storage) as world:
        world.client.subscribe("a.*", Handler()).unsubscribe()
        socket = await world.connected(resumed=True, subscriptions=[held("a.*")])
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        complete(socket, cursor=cursor())
        await settle()
        assert socket.sent() == []


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
