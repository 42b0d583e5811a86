"""Coming back: resumes, lost sessions, gaps, and replays that are asked for."""

import asyncio
from typing import Any

import pytest

from bellwether_client import ConnectionError as ConnectionEnded
from bellwether_client import Cursor, Last, NotificationError, ReplayResult, SubscriptionOptions
from tests.client.fake_server import cursor, held
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, refuse, settle, wait

THEN = Cursor("x1", {"0": 1})


async def subscribed(world: World, handler: Handler, **options: Any) -> MemorySocket:
    world.client.subscribe("a.*", handler, SubscriptionOptions(**options))
    socket = await world.connected(cursor=cursor(p0=4))
    grant(socket, await socket.expect("subscribe"))
    await settle()
    return socket


@virtual
async def test_it_resumes_from_where_its_handlers_are() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        deliver(socket, 5)
        await settle()
        handler.goes_on.clear()
        deliver(socket, 6)
        await settle()
        socket.shut(4409)
        socket = await world.accept(resumed=True, sessionId="s2", subscriptions=[held("a.*")])
        assert world.hello["resume"] == {"sessionId": "s1", "cursor": cursor(p0=5)}
        deliver(socket, 6, 7, replayed=True)
        complete(socket, count=2, cursor=cursor(p0=7))
        deliver(socket, 8)
        handler.goes_on.set()
        await settle()
        assert handler.payloads == [5, 6, 7, 8]
        assert [event.count for event in world.told("recovered")] == [2]
        assert world.told("gap") == []


@pytest.mark.parametrize("reason", ["BAD_CURSOR", "EPOCH_CHANGED", "BEYOND_RETENTION", "TOO_MANY"])
@virtual
async def test_a_resume_that_is_not_whole_says_why(reason: str) -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket, recovered=False, reason=reason, cursor=cursor("x2", p0=90))
        deliver(socket, 91)
        await settle()
        (gap,) = world.told("gap")
        assert (gap.reason, gap.topic, gap.cursor) == (reason, None, Cursor("x2", {"0": 90}))
        assert handler.payloads == [91]


@virtual
async def test_a_gap_of_the_server_is_told() -> None:
    async with World() as world:
        socket = await subscribed(world, Handler())
        socket.push("gap", topic="a.b", reason="EPOCH_CHANGED", cursor=cursor("x2", p0=1))
        await settle()
        (gap,) = world.told("gap")
        assert (gap.reason, gap.topic) == ("EPOCH_CHANGED", "a.b")
        assert world.client.get_cursor() == Cursor("x2", {"0": 1})


@pytest.mark.parametrize("recovered", [True, False])
@virtual
async def test_a_session_that_is_gone_is_made_up_for_by_a_replay(recovered: bool) -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        socket.shut(1006)
        socket = await world.accept(
            sessionId="s2", subscriptions=[held("a.*")], cursor=cursor(p0=20)
        )
        request = await socket.expect("replay")
        assert request["cursor"] == cursor(p0=4)
        assert "subscriptionId" not in request
        deliver(socket, 21)
        await settle()
        assert handler.payloads == []
        if recovered:
            deliver(socket, 7, 21, replayed=True)
        end = {"reason": "TOO_MANY"} if not recovered else {}
        complete(socket, request["id"], recovered=recovered, count=2, cursor=cursor(p0=21), **end)
        deliver(socket, 22)
        await settle()
        if recovered:
            assert handler.payloads == [7, 21, 22]
            assert [event.count for event in world.told("recovered")] == [2]
        else:
            assert handler.payloads == [21, 22]
            assert [event.reason for event in world.told("gap")] == ["SESSION_LOST"]


@virtual
async def test_a_replay_in_place_of_a_session_is_asked_again_when_refused_for_now() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        socket.shut(1006)
        socket = await world.accept(sessionId="s2", subscriptions=[held("a.*")])
        request = await socket.expect("replay")
        refuse(socket, request, "RATE_LIMITED", temporary=True, retryAfter=500)
        deliver(socket, 10)
        await wait(400)
        assert handler.payloads == []
        refuse(socket, await socket.expect("replay"), "INTERNAL")
        await settle()
        assert handler.payloads == [10]
        assert [event.reason for event in world.told("gap")] == ["SESSION_LOST"]


@virtual
async def test_a_subscription_that_was_lost_with_the_session_goes_on_where_the_client_is() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        deliver(socket, 5)
        await settle()
        socket.shut(1006)
        socket = await world.accept(sessionId="s2", cursor=cursor(p0=9))
        request = await socket.expect("replay")
        complete(socket, request["id"], cursor=cursor(p0=9))
        request = await socket.expect("subscribe")
        assert request["options"] == {"since": cursor(p0=5)}
        grant(socket, request, "sub2")
        deliver(socket, 5, 7, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=9))
        deliver(socket, 10)
        await settle()
        assert handler.payloads == [5, 7, 10]


@pytest.mark.parametrize("since", [Last(count=2), Cursor("x1", {"0": 1})])
@virtual
async def test_a_replay_that_is_cut_off_is_asked_for_again(since: Last | Cursor) -> None:
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SubscriptionOptions(since=since))
        socket = await world.connected(cursor=cursor(p0=4))
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 2, 3, replayed=True)
        await settle()
        socket.shut(1006)
        row = held("a.*", since={"last": 2})
        socket = await world.accept(resumed=True, subscriptions=[row])
        deliver(socket, 5, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=5))
        deliver(socket, 6)
        request = await socket.expect("replay")
        assert request["subscriptionId"] == "sub1"
        assert request["cursor"] == (cursor(p0=1) if isinstance(since, Cursor) else cursor())
        assert handler.payloads == [2, 3]
        deliver(socket, 2, 3, 4, 5, replayed=True)
        complete(socket, request["id"], count=4, cursor=cursor(p0=5))
        await settle()
        assert handler.payloads == [2, 3, 4, 5, 6]
        assert [event.topic for event in world.told("recovered")] == [None, "a.*"]


@virtual
async def test_one_that_cannot_be_repeated_is_a_gap() -> None:
    async with World() as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, SubscriptionOptions(replay_missed=True))
        socket = await world.connected(cursor=cursor(p0=4))
        grant(socket, await socket.expect("subscribe"))
        await settle()
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket, cursor=cursor(p0=5))
        request = await socket.expect("replay")
        assert request["cursor"] == cursor(p0=4)
        deliver(socket, 6)
        refuse(socket, request, "UNKNOWN_SUBSCRIPTION")
        await settle()
        (gap,) = world.told("gap")
        assert (gap.reason, gap.topic) == ("CONNECTION_LOST", "a.*")
        assert handler.payloads == [6]


@virtual
async def test_a_replay_brings_again_what_was_handled_and_others_wait() -> None:
    async with World() as world:
        handler, other = Handler(), Handler()
        socket = await subscribed(world, handler)
        subscription = world.client.subscribe("a.*", other)
        deliver(socket, 5)
        await settle()
        asked = asyncio.create_task(
            world.client.replay(THEN, subscription=subscription, max_replay_age=60_000)
        )
        request = await socket.expect("replay")
        assert request == {
            "type": "replay",
            "id": request["id"],
            "cursor": cursor(p0=1),
            "subscriptionId": "sub1",
            "maxReplayAge": 60_000,
        }
        deliver(socket, 6)
        await settle()
        assert (handler.payloads, other.payloads) == ([5, 6], [5])
        deliver(socket, 2, 5, 6, replayed=True)
        complete(socket, request["id"], count=3, cursor=cursor(p0=6))
        assert await asked == ReplayResult(recovered=True, count=3)
        assert other.payloads == [5, 2, 5, 6]
        assert handler.payloads == [5, 6]
        assert world.client.get_cursor() == Cursor("x1", {"0": 6})


@virtual
async def test_replays_go_one_after_the_other_and_over_connections() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        tasks = [asyncio.create_task(world.client.replay(THEN)) for _ in range(2)]
        request = await socket.expect("replay")
        deliver(socket, 2, replayed=True)
        await settle()
        assert socket.sent() == []
        socket.shut(1006)
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        complete(socket, cursor=cursor(p0=4))
        request = await socket.expect("replay")
        deliver(socket, 2, 3, replayed=True)
        complete(socket, request["id"], count=2, cursor=cursor(p0=4))
        request = await socket.expect("replay")
        complete(
            socket, request["id"], recovered=False, reason="BEYOND_RETENTION", cursor=cursor(p0=4)
        )
        results = await asyncio.gather(*tasks)
        assert [result.recovered for result in results] == [True, False]
        assert results[1].reason == "BEYOND_RETENTION"
        assert handler.payloads == [2, 3]


@virtual
async def test_what_becomes_of_a_replay_without_subscription_or_connection() -> None:
    async with World() as world:
        subscription = world.client.subscribe("a.*", Handler())
        waiting = asyncio.create_task(world.client.replay(THEN))
        await settle()
        subscription.unsubscribe()
        with pytest.raises(NotificationError, match="ENDED"):
            await world.client.replay(THEN, subscription=subscription)
        await world.connected()
        await world.client.disconnect()
        with pytest.raises(ConnectionEnded):
            await waiting


@virtual
async def test_a_refused_replay_raises() -> None:
    async with World() as world:
        socket = await subscribed(world, Handler())
        asked = asyncio.create_task(world.client.replay(THEN))
        refuse(socket, await socket.expect("replay"), "BAD_CURSOR", message="Send an object.")
        with pytest.raises(NotificationError, match="Send an object"):
            await asked


@virtual
async def test_replay_missed_false_keeps_what_was_missed_away_but_not_what_is_asked_for() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler, replay_missed=False)
        deliver(socket, 3, replayed=True)
        await settle()
        assert handler.payloads == []
        asked = asyncio.create_task(world.client.replay(THEN))
        request = await socket.expect("replay")
        deliver(socket, 3, replayed=True)
        complete(socket, request["id"], count=1, cursor=cursor(p0=4))
        await asked
        assert handler.payloads == [3]
