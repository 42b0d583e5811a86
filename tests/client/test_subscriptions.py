"""Subscriptions whose requests are refused for now, or whose answers are lost."""

import asyncio
from typing import Any

import pytest

from notifications.client import Cursor, Event, NotificationClient, SubscriptionOptions
from notifications.client import requests as requests_module
from notifications.errors import Forbidden, RateLimited
from notifications.resilience.backoff import RetryPolicy
from tests.client.fake_server import FakeServer, Peer, cursor
from tests.client.test_replaying import held, replayed

AT_ONCE = RetryPolicy(initial_delay=0, max_delay=0, jitter=False)
LAST = SubscriptionOptions(since={"last": 5})


async def refuse(peer: Peer, request: dict[str, Any], code: str, **fields: Any) -> None:
    fields = {"message": "Not now.", "temporary": True, "retryAfter": 1} | fields
    await peer.send("error", id=request["id"], code=code, **fields)


async def already(peer: Peer, request: dict[str, Any], subscription_id: str) -> None:
    await refuse(
        peer,
        request,
        "ALREADY_SUBSCRIBED",
        temporary=False,
        data={"subscriptionId": subscription_id},
    )


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RATE_LIMITED", "OVERLOADED", "INTERNAL"])
async def test_a_subscription_that_is_refused_for_now_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(requests_module, "ASK_AGAIN", 1)
    topics: list[str] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.subscribed(await peer.receive())
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome()
        for fields in ({}, {"retryAfter": None}):
            request = await peer.receive()
            topics.append(request["topic"])
            await refuse(peer, request, code, **fields)
        request = await peer.receive()
        topics.append(request["topic"])
        await peer.subscribed(request, "sub2")
        await peer.message(1)
        request = await peer.receive()
        assert request["subscriptionId"] == "sub2"
        await peer.send("unsubscribed", id=request["id"], subscriptionId="sub2")
        await peer.until_gone()

    events: list[Event] = []
    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=events.append
        ) as client:
            await client.subscribe("a.*")
            assert (await anext(client)).payload == 1
            await client.unsubscribe("a.*")
    assert topics == ["a.*"] * 3
    assert not [event for event in events if event.kind == "unsubscribed"]
    (told,) = [event for event in events if event.kind == "error"]
    assert told.data == {"pattern": "a.*", "code": code}


async def test_a_subscription_that_is_not_wanted_any_more_is_not_asked_for_again() -> None:
    asked = asyncio.Event()
    frames: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.subscribed(await peer.receive())
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome()
        request = await peer.receive()
        asked.set()
        ended = await peer.receive()
        await refuse(peer, ended, "UNKNOWN_SUBSCRIPTION", temporary=False)
        await peer.subscribed(request, "sub2")
        frames.append(await peer.receive())
        await peer.send("unsubscribed", id=frames[-1]["id"], subscriptionId="sub2")
        frames.append(await peer.receive())
        await peer.published(frames[-1])
        await peer.until_gone()

    async with FakeServer(first, second) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            await client.subscribe("a.*")
            await asked.wait()
            await client.unsubscribe("a.*")
            while not frames:
                await asyncio.sleep(0.001)
            await client.publish("a.b", 1)
            with pytest.raises(KeyError):
                await client.unsubscribe("a.*")
    assert [frame["type"] for frame in frames] == ["unsubscribe", "publish"]
    assert frames[0]["subscriptionId"] == "sub2"


async def test_the_history_of_a_subscription_whose_answer_was_lost_comes() -> None:
    kinds: list[str] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.receive()
        await peer.socket.close(1012)  # the row was written, the answer was not

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub1", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        await already(peer, await peer.receive(), "sub1")
        request = await peer.receive()
        kinds.append(request["type"])
        assert request["subscriptionId"] == "sub1"
        await peer.send("unsubscribed", id=request["id"], subscriptionId="sub1")
        request = await peer.receive()
        kinds.append(request["type"])
        assert request["options"] == {"since": {"last": 5}}
        await peer.subscribed(request, "sub2")
        await replayed(peer, request, 8, 9)
        await peer.until_gone()

    async with FakeServer(first, second) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            assert await client.subscribe("a.*", LAST) == "sub2"
            assert [(await anext(client)).payload for _ in range(2)] == [8, 9]
    assert kinds == ["unsubscribe", "subscribe"]


async def test_a_history_that_was_cut_off_comes_again_from_the_first() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9))
        request = await peer.receive()
        await peer.subscribed(request, "sub1")
        await peer.message(7, replayed=True)
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub1", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        request = await peer.receive()
        assert request["options"] == {"since": {"last": 5}}
        await refuse(peer, request, "RATE_LIMITED")
        await already(peer, await peer.receive(), "sub1")
        request = await peer.receive()
        await peer.send("unsubscribed", id=request["id"], subscriptionId="sub1")
        request = await peer.receive()
        assert request["options"] == {"since": {"last": 5}}
        await peer.subscribed(request, "sub2")
        await replayed(peer, request, 7, 8)
        await peer.socket.close(1012)

    async def third(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub2", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        request = await peer.receive()  # no `subscribe`: the history has come
        assert request["subscriptionId"] == "sub2"
        await peer.send("unsubscribed", id=request["id"], subscriptionId="sub2")
        await peer.until_gone()

    async with FakeServer(first, second, third) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            await client.subscribe("a.*", LAST)
            assert [(await anext(client)).payload for _ in range(3)] == [7, 7, 8]
            while len(server.peers) < 3:
                await asyncio.sleep(0.001)
            await client.unsubscribe("a.*")


@pytest.mark.parametrize("fate", ["answer lost", "cut off", "complete", "refused"])
async def test_what_replay_missed_asked_for_and_did_not_come_is_told(fate: str) -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9))
        request = await peer.receive()
        if fate == "refused":
            await refuse(peer, request, "FORBIDDEN", temporary=False)
        elif fate != "answer lost":
            await peer.subscribed(request, "sub1")
        if fate == "complete":
            await replayed(peer, request)
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub1", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        if fate == "answer lost":
            request = await peer.receive()
            await already(peer, request, "sub1")
        await peer.message(10)
        await peer.socket.close(1012)

    async def third(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub1", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=10))
        await peer.message(11)
        await peer.until_gone()

    events: list[Event] = []
    async with FakeServer(first, second, third) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=events.append
        ) as client:
            options = SubscriptionOptions(replay_missed=True)
            if fate == "refused":
                with pytest.raises(Forbidden):
                    await client.subscribe("a.*", options)
            else:
                assert await client.subscribe("a.*", options) == "sub1"
            assert [(await anext(client)).payload for _ in range(2)] == [10, 11]
    told = [event.data for event in events if event.kind == "gap"]
    expected = {"reason": "CONNECTION_LOST", "pattern": "a.*"}
    assert told == ([expected] if fate in ("answer lost", "cut off") else [])


async def test_a_replay_that_is_sent_anew_waits_for_the_replay_of_the_resume() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9), subscriptions=[held("sub1", "a.*")])
        await peer.receive()
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("sub1", "a.*")])
        await refuse(peer, await peer.receive(), "RATE_LIMITED")
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        await replayed(peer, await peer.receive(), 5)
        await refuse(peer, await peer.receive(), "RATE_LIMITED")
        await peer.until_gone()

    then = Cursor(epoch="x1", offsets={"0": 4})
    async with FakeServer(first, second) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            complete = await client.replay(then)
            assert (complete.recovered, complete.count) == (True, 1)
            with pytest.raises(RateLimited):
                await client.replay(then)
