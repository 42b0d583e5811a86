"""Subscriptions: asked for, shared, refused, kept over connections."""

import asyncio
from typing import Any

import pytest

from bellwether_client import BatchConfig, Cursor, Last, NotificationError, SubscriptionOptions
from tests.client.fake_server import cursor, held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, refuse, settle


@virtual
async def test_what_is_data_goes_to_the_server() -> None:
    async with World() as world:
        options = SubscriptionOptions(
            filter=lambda message: True,
            max_replay_age=5,
            replay_missed=False,
            server_filter={"eq": ["payload.kind", "order"]},
            batch=BatchConfig(max_size=10, max_delay=50),
        )
        subscription = world.client.subscribe("a.*", Handler(), options)
        socket = await world.connected()
        request = await socket.expect("subscribe")
        assert request["options"] == {
            "maxReplayAge": 5,
            "replayMissed": False,
            "filter": {"eq": ["payload.kind", "order"]},
            "batch": {"maxSize": 10, "maxDelay": 50},
        }
        grant(socket, request)
        await subscription.ready()
        assert (subscription.topic, subscription.is_active()) == ("a.*", True)


@pytest.mark.parametrize("topic", ["", "a..b", "a.**.b", "$x"])
@virtual
async def test_a_bad_topic_is_refused_here(topic: str) -> None:
    async with World() as world:
        subscription = world.client.subscribe(topic, Handler())
        with pytest.raises(NotificationError, match="BAD_TOPIC"):
            await subscription.ready()
        assert not subscription.is_active()
        assert [event.subscription for event in world.told("subscription_ended")] == [subscription]


@virtual
async def test_a_refusal_ends_it_and_is_told() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a", Handler())
        socket = await world.connected()
        refuse(socket, await socket.expect("subscribe"), "FORBIDDEN", message="No grant.")
        with pytest.raises(NotificationError, match="No grant") as refused:
            await subscription.ready()
        assert refused.value.code == "FORBIDDEN"
        (told,) = world.told("subscription_ended")
        assert (told.subscription, told.error) == (subscription, refused.value)


@virtual
async def test_two_to_one_topic_share_the_servers() -> None:
    async with World() as world:
        one, two = Handler(), Handler()
        first = world.client.subscribe("a.*", one)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await first.ready()
        second = world.client.subscribe("a.*", two)
        await second.ready()
        deliver(socket, 1)
        await settle()
        first.unsubscribe()
        deliver(socket, 2)
        await settle()
        assert (one.payloads, two.payloads) == ([1], [1, 2])
        assert socket.sent() == []
        world.client.unsubscribe(second.id)
        world.client.unsubscribe("unknown")
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"


@pytest.mark.parametrize(
    "options",
    [
        SubscriptionOptions(replay_missed=True),
        SubscriptionOptions(max_replay_age=1),
        SubscriptionOptions(server_filter={"exists": "payload.a"}),
    ],
)
@virtual
async def test_those_that_share_must_agree(options: SubscriptionOptions) -> None:
    async with World() as world:
        world.client.subscribe("a", Handler())
        other = world.client.subscribe("a", Handler(), options)
        with pytest.raises(NotificationError, match="CONFLICT"):
            await other.ready()
        agreeing = SubscriptionOptions(filter=lambda message: True, batch=BatchConfig())
        assert world.client.subscribe("a", Handler(), agreeing).is_active()


@pytest.mark.parametrize(
    ("first", "second"),
    [(Last(count=1), None), (None, Last(count=1)), (Last(count=1), Cursor("x1", {"0": 5}))],
)
@virtual
async def test_since_is_of_the_beginning_and_no_reason_to_disagree(first: Any, second: Any) -> None:
    async with World() as world:
        handlers = [Handler(), Handler()]
        options = [SubscriptionOptions(since=since) for since in (first, second)]
        world.client.subscribe("a.*", handlers[0], options[0])
        socket = await world.connected()
        request = await socket.expect("subscribe")
        grant(socket, request)
        if first is not None:
            deliver(socket, 1, replayed=True)
            complete(socket, request["id"], count=1)
        await settle()
        joined = world.client.subscribe("a.*", handlers[1], options[1])
        await joined.ready()
        deliver(socket, 10)
        await settle()
        assert [handler.payloads[-1:] for handler in handlers] == [[10], [10]]
        assert handlers[1].payloads == [10], "it begins at the present"
        assert socket.sent() == []


@virtual
async def test_overlapping_patterns_deliver_once_to_each() -> None:
    async with World() as world:
        handlers = [Handler() for _ in range(3)]
        topics = ("a.b", "a.*", "**")
        for topic, handler in zip(topics, handlers, strict=True):
            world.client.subscribe(topic, handler)
        socket = await world.connected()
        for number in range(3):
            grant(socket, await socket.expect("subscribe"), f"sub{number}")
        deliver(socket, 1)
        deliver(socket, 2, topic="c")
        await settle()
        assert [handler.payloads for handler in handlers] == [[1], [1], [1, 2]]


@virtual
async def test_one_that_exists_already_is_as_good_as_a_new_one() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        request = await socket.expect("subscribe")
        refuse(socket, request, "ALREADY_SUBSCRIBED", data={"subscriptionId": "sub7"})
        await subscription.ready()
        subscription.unsubscribe()
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub7"


@virtual
async def test_what_since_asks_for_comes_with_a_new_one_only() -> None:
    async with World() as world:
        options = SubscriptionOptions(since=Last(count=2))
        subscription = world.client.subscribe("a.*", Handler(), options)
        socket = await world.connected()
        request = await socket.expect("subscribe")
        refuse(socket, request, "ALREADY_SUBSCRIBED", data={"subscriptionId": "sub7"})
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub7"
        again = await socket.expect("subscribe")
        assert again["options"] == {"since": {"last": 2}}
        grant(socket, again)
        await subscription.ready()


@virtual
async def test_on_reconnection_what_the_server_lacks_is_asked_for_then_all_is_verified() -> None:
    async with World() as world:
        lost = Handler()
        gone = world.client.subscribe("a.*", Handler())
        world.client.subscribe("b.*", lost)
        socket = await world.connected()
        for number in range(2):
            grant(socket, await socket.expect("subscribe"), f"sub{number}")
        await settle()
        publishing = asyncio.create_task(world.client.publish("c", 1))
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*", "sub0")])
        await settle()
        assert socket.sent() == []  # one replay at a time: the resume's first
        complete(socket, cursor=cursor(p0=3))
        request = await socket.expect("subscribe")
        # A subscription that was lost goes on where the client was.
        assert (request["topic"], request["options"]) == ("b.*", {"since": cursor()})
        grant(socket, request, "sub9")
        verify = await socket.expect("verify")
        assert verify["subscriptionIds"] == ["sub0", "sub9"]
        await socket.expect("publish")
        row = {"subscriptionId": "sub0", "code": "UNKNOWN_SUBSCRIPTION"}
        socket.push("verified", id=verify["id"], active=["sub9"], inactive=[row])
        await settle()
        (told,) = world.told("subscription_ended")
        assert (told.subscription, told.error.code) == (gone, "UNKNOWN_SUBSCRIPTION")
        publishing.cancel()


@virtual
async def test_what_the_server_ends_is_ended() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        socket.push("unsubscribed", subscriptionId="sub1", code="FORBIDDEN", reason="withdrawn")
        await settle()
        (told,) = world.told("subscription_ended")
        assert (told.error.code, told.error.message) == ("FORBIDDEN", "withdrawn")
        assert not subscription.is_active()


@virtual
async def test_a_refusal_for_now_of_what_there_was_is_asked_again() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await settle()
        socket.shut(1006)
        socket = await world.accept(sessionId="s2", cursor=cursor("x2"))
        request = await socket.expect("subscribe")
        await socket.expect("replay")
        for fields in ({"retryAfter": 10}, {}):
            refuse(socket, request, "OVERLOADED", temporary=True, **fields)
            request = await socket.expect("subscribe")
        assert subscription.is_active()
        assert asyncio.get_running_loop().time() == pytest.approx(1.01, abs=0.01)


@virtual
async def test_unsubscribed_while_asked_for_and_while_away() -> None:
    async with World() as world:
        early = world.client.subscribe("a", Handler())
        later = world.client.subscribe("b", Handler())
        socket = await world.connected()
        first, second = await socket.expect("subscribe"), await socket.expect("subscribe")
        early.unsubscribe()
        grant(socket, first, "sub1")
        grant(socket, second, "sub2")
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        socket.shut(1006)
        await settle()
        later.unsubscribe()
        rows = [held("a", "sub1"), held("b", "sub2")]
        socket = await world.accept(resumed=True, subscriptions=rows)
        ended = [(await socket.expect("unsubscribe"))["subscriptionId"] for _ in range(2)]
        assert ended == ["sub1", "sub2"]
        assert world.told("orphan") == []


@virtual
async def test_a_cursor_is_a_since() -> None:
    async with World() as world:
        options = SubscriptionOptions(since=Cursor("x1", {"0": 3}))
        world.client.subscribe("a.*", Handler(), options)
        socket = await world.connected()
        assert (await socket.expect("subscribe"))["options"] == {"since": cursor(p0=3)}


@virtual
async def test_the_client_batches_where_it_is_told_to() -> None:
    async with World(batch=BatchConfig(max_size=5, max_delay=7)) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.connected()
        assert world.hello["batch"] == {"maxSize": 5, "maxDelay": 7}
        grant(socket, await socket.expect("subscribe"))
        await settle()
        frames: list[Any] = []
        socket.push_text = frames.append  # type: ignore[method-assign,assignment]
        deliver(socket, 1, 2)
        del socket.push_text
        socket.push_text(f'[{frames[0]},3,{{"type":"later"}},{frames[1]}]')
        socket.push_text("{")
        await settle()
        assert handler.payloads == [1, 2]
        assert len(world.told("unreadable_frame")) == 2


def begun(socket: Any, topic: str, subscription_id: str = "given", **options: Any) -> None:
    """Have others begin a subscription for this client."""
    socket.push("subscribed", **held(topic, subscription_id, **options), cursor=cursor())


@virtual
async def test_what_others_begin_waits_for_its_handler() -> None:
    async with World() as world:
        socket = await world.connected()
        begun(socket, "a.*", maxReplayAge=5)
        deliver(socket, 1)
        await settle()
        (orphan,) = world.told("orphan")
        assert (orphan.topic, world.client.get_stats().waiting) == ("a.*", 1)
        handler = Handler()
        options = SubscriptionOptions(max_replay_age=5)
        subscription = world.client.subscribe("a.*", handler, options)
        await subscription.ready()
        deliver(socket, 2)
        await settle()
        assert handler.payloads == [1, 2]
        assert socket.sent() == [], "the server has it already"
        subscription.unsubscribe()
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "given"
        assert world.told("unreadable_frame") == []


@virtual
async def test_what_others_begin_and_end_is_gone_again() -> None:
    async with World() as world:
        socket = await world.connected()
        begun(socket, "a.*")
        socket.push("unsubscribed", subscriptionId="given", reason="Ended.")
        deliver(socket, 1)
        await settle()
        assert world.client.get_stats().waiting == 0
        handler = Handler()
        world.client.subscribe("a.*", handler)
        grant(socket, await socket.expect("subscribe"))
        await settle()
        assert handler.payloads == []


@virtual
async def test_what_others_begin_while_this_client_asks_is_one_subscription() -> None:
    async with World() as world:
        socket = await world.connected()
        handler = Handler()
        subscription = world.client.subscribe("a.*", handler)
        request = await socket.expect("subscribe")
        begun(socket, "a.*")
        refuse(socket, request, "ALREADY_SUBSCRIBED", data={"subscriptionId": "given"})
        await subscription.ready()
        deliver(socket, 1)
        await settle()
        assert (handler.payloads, world.told("orphan")) == ([1], [])
        begun(socket, "a.*")  # said again: nothing new
        await settle()
        assert world.told("orphan") == []
