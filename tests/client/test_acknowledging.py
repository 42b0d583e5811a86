"""What the client tells of how far its application has come."""

import asyncio
import json
from typing import Any

import pytest

from notifications.client import NotificationClient, acknowledger
from notifications.resilience.backoff import RetryPolicy
from tests.client.fake_server import FakeServer, Peer, cursor

AT_ONCE = RetryPolicy(initial_delay=0, max_delay=0, jitter=False)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time, so that no test waits."""
    monkeypatch.setattr(acknowledger, "EVERY", 0.001)


async def rest(peer: Peer) -> list[dict[str, Any]]:
    """Return whatever the client sends until it leaves."""
    return [json.loads(text) async for text in peer.socket]


def ack(**offsets: int) -> dict[str, Any]:
    return {"type": "ack", "cursor": cursor("x1", **offsets)}


async def test_what_was_handled_is_told_when_it_moved() -> None:
    told: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=4, p1=2))
        await peer.message(5)
        await peer.message(6)
        told.append(await peer.receive())
        await peer.message(7)
        told.append(await peer.receive())
        told.extend(await rest(peer))

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", acknowledge=True) as client:
            assert (await anext(client)).payload == 5
            await asyncio.sleep(0.02)  # 5 is in hand, not handled: nothing to tell
            assert told == []
            assert (await anext(client)).payload == 6
            while not told:
                await asyncio.sleep(0.001)
            assert (await anext(client)).payload == 7
            while len(told) < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)  # nothing moves
    assert told == [ack(p0=5, p1=2), ack(p0=6, p1=2)]


async def test_the_last_place_is_told_before_the_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledger, "EVERY", 3600.0)
    told: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.message(1)
        await peer.message(2)
        told.extend(await rest(peer))
        over.set()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", acknowledge=True) as client:
            await anext(client)
            await anext(client)
        await over.wait()
    assert told == [ack(p0=1)]


async def test_a_new_connection_is_told_again_when_it_resumes() -> None:
    told: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.message(1)
        await peer.message(2)
        told.append(await peer.receive())
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True)
        told.append(await peer.receive())
        await peer.until_gone()

    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, acknowledge=True
        ) as client:
            await anext(client)
            await anext(client)
            while len(told) < 2:
                await asyncio.sleep(0.001)
    assert told == [ack(p0=1), ack(p0=1)]


async def test_the_head_at_which_a_new_session_begins_is_no_news() -> None:
    told: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=40))
        await peer.message(41)
        told.extend(await rest(peer))
        over.set()

    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, acknowledge=True
        ) as client:
            await anext(client)
            await asyncio.sleep(0.02)
        await over.wait()
    assert told == []


async def test_a_client_that_was_not_told_to_does_not() -> None:
    told: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.message(1)
        await peer.message(2)
        told.extend(await rest(peer))
        over.set()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            await anext(client)
            await anext(client)
            await asyncio.sleep(0.02)
        await over.wait()
    assert told == []


async def test_closing_without_a_connection_tells_nobody() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("disconnect", code=1012, reason="r", reconnect=True, retryAfter=3_600_000)
        await peer.socket.close(1012)

    lost = asyncio.Event()
    async with FakeServer(script) as server:
        async with NotificationClient(
            server.url,
            token="t",
            acknowledge=True,
            on_event=lambda event: lost.set() if event.kind == "disconnected" else None,
        ):
            await lost.wait()
