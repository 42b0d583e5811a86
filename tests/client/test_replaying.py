"""What an application asks for again, and what becomes of subscriptions after a resume."""

import asyncio
from typing import Any

import pytest

from notifications.client import Cursor, Event, NotificationClient, SubscriptionOptions
from notifications.errors import RateLimited
from notifications.resilience.backoff import RetryPolicy
from tests.client.fake_server import NOW, FakeServer, Peer, cursor

AT_ONCE = RetryPolicy(initial_delay=0, max_delay=0, jitter=False)
THEN = Cursor(epoch="x1", offsets={"0": 1})


def held(subscription_id: str, topic: str) -> dict[str, Any]:
    return {"subscriptionId": subscription_id, "topic": topic, "options": {}, "createdAt": NOW}


async def replayed(peer: Peer, request: dict[str, Any], *offsets: int) -> None:
    """Carry out a replay."""
    for offset in offsets:
        await peer.message(offset, replayed=True)
    await peer.send(
        "replay_complete",
        id=request["id"],
        recovered=True,
        count=len(offsets),
        cursor=cursor(p0=9),
    )


async def test_a_replay_brings_what_was_handled_before_and_moves_nothing_back() -> None:
    requests: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9), subscriptions=[held("sub1", "a.*")])
        requests.append(await peer.receive())
        await replayed(peer, requests[-1], 2, 3)
        await peer.message(10)
        await peer.until_gone()

    events: list[Event] = []
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", on_event=events.append) as client:
            complete = await client.replay(THEN)
            received = [await anext(client) for _ in range(3)]
            assert client.cursor == Cursor(epoch="x1", offsets={"0": 9})
    assert (complete.recovered, complete.count, complete.cursor.offsets) == (True, 2, {"0": 9})
    assert [(message.payload, message.replayed) for message in received] == [
        (2, True),
        (3, True),
        (10, None),
    ]
    assert requests == [{"type": "replay", "id": requests[0]["id"], "cursor": cursor(p0=1)}]
    assert [event.data for event in events if event.kind == "recovered"] == [{"count": 2}]


async def test_a_replay_of_one_subscription_names_it() -> None:
    requests: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.subscribed(await peer.receive(), "sub7")
        requests.append(await peer.receive())
        await replayed(peer, requests[-1])
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            await client.subscribe("a.*")
            await client.replay(THEN, "a.*", max_replay_age=60_000)
            with pytest.raises(KeyError):
                await client.replay(THEN, "b.*")
    assert requests[0]["subscriptionId"] == "sub7"
    assert requests[0]["maxReplayAge"] == 60_000


async def test_a_replay_that_is_not_whole_says_so() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9))
        request = await peer.receive()
        await peer.send(
            "replay_complete",
            id=request["id"],
            recovered=False,
            count=0,
            cursor=cursor(p0=7),
            reason="BEYOND_RETENTION",
        )
        await peer.until_gone()

    events: list[Event] = []
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", on_event=events.append) as client:
            complete = await client.replay(THEN)
            assert client.cursor == Cursor(epoch="x1", offsets={"0": 9})
    assert (complete.recovered, complete.reason) == (False, "BEYOND_RETENTION")
    assert [event.data["reason"] for event in events if event.kind == "gap"] == ["BEYOND_RETENTION"]


async def test_a_refused_replay_raises_the_servers_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        request = await peer.receive()
        await peer.send(
            "error",
            id=request["id"],
            code="RATE_LIMITED",
            message="One at a time.",
            temporary=True,
            retryAfter=100,
        )
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            with pytest.raises(RateLimited, match="One at a time"):
                await client.replay(THEN)


async def test_a_replay_that_was_cut_off_is_asked_for_again() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9))
        await peer.receive()
        await peer.message(2, replayed=True)
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, cursor=cursor(p0=9))
        request = await peer.receive()
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        await replayed(peer, request, 2, 3)
        await peer.until_gone()

    async with FakeServer(first, second) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            assert (await client.replay(THEN)).count == 2
            assert [(await anext(client)).payload for _ in range(3)] == [2, 2, 3]


@pytest.mark.parametrize("since", [{"last": 2}, cursor(p0=7)])
async def test_a_subscription_may_begin_in_the_past(since: dict[str, Any]) -> None:
    requests: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=9))
        requests.append(await peer.receive())
        await peer.subscribed(requests[-1])
        await replayed(peer, requests[-1], 8, 9)
        await peer.message(10)
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            await client.subscribe("a.*", SubscriptionOptions(since=since))
            assert [(await anext(client)).payload for _ in range(3)] == [8, 9, 10]
    assert requests[0]["options"] == {"since": since}


async def test_after_a_resume_what_the_server_does_not_hold_is_made_anew() -> None:
    requests: list[dict[str, Any]] = []
    done = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        for number in range(3):
            request = await peer.receive()
            await peer.subscribed(request, f"sub{number}")
            await replayed(peer, request)
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, subscriptions=[held("kept", "a.*")])
        await peer.send("replay_complete", recovered=True, count=0, cursor=cursor(p0=9))
        for _ in range(2):
            requests.append(await peer.receive())
        await peer.subscribed(requests[0], "new")
        await peer.send(
            "error",
            id=requests[1]["id"],
            code="ALREADY_SUBSCRIBED",
            message="You have it.",
            temporary=False,
            data={"subscriptionId": "old"},
        )
        for _ in range(3):
            requests.append(await peer.receive())
            ended = requests[-1]["subscriptionId"]
            await peer.send("unsubscribed", id=requests[-1]["id"], subscriptionId=ended)
        await peer.until_gone()

    def tell(event: Event) -> None:
        if event.kind == "recovered":
            done.set()

    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=tell
        ) as client:
            for pattern in ("a.*", "b.*", "c.*"):
                options = SubscriptionOptions(since={"last": 5}, max_replay_age=1_000)
                await client.subscribe(pattern, options)
            await done.wait()
            while len(requests) < 2:
                await asyncio.sleep(0.001)
            for pattern in ("a.*", "b.*", "c.*"):
                await client.unsubscribe(pattern)
    assert [request.get("topic") for request in requests[:2]] == ["b.*", "c.*"]
    # What `since` asked for has come already.
    assert requests[0]["options"] == {"maxReplayAge": 1_000}
    assert requests[2]["subscriptionId"] == "kept"
