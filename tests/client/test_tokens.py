"""Tokens that expire on an open connection."""

import asyncio

import pytest

from bellwether_client import NotificationError
from tests.client.virtual import virtual
from tests.client.world import World, refuse, settle, wait


class Tokens:
    """A token function: the answers in their order, then fresh ones."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        answer = self.answers.pop(0) if self.answers else f"token{self.count}"
        if isinstance(answer, Exception):
            raise answer
        return answer


@virtual
async def test_a_fresh_token_for_each_connection() -> None:
    async with World(auth=Tokens()) as world:
        socket = await world.connected()
        assert world.hello["token"] == "token1"
        socket.shut(4401)
        await world.accept()
        assert world.hello["token"] == "token2"


@virtual
async def test_it_is_refreshed_at_nine_tenths_of_its_life_and_again() -> None:
    async with World(auth=Tokens()) as world:
        socket = await world.connected(expiresIn=20_000)
        refresh = await socket.expect("refresh")
        assert asyncio.get_running_loop().time() == pytest.approx(18, abs=0.1)
        assert refresh["token"] == "token2"
        socket.push("refreshed", id=refresh["id"], expiresIn=10_000)
        await socket.expect("refresh")
        assert asyncio.get_running_loop().time() == pytest.approx(27, abs=0.1)


@virtual
async def test_it_is_refreshed_when_the_server_asks_once() -> None:
    async with World(auth=Tokens()) as world:
        socket = await world.connected(expiresIn=900_000)
        socket.push("token_expiring", expiresIn=60_000)
        socket.push("token_expiring", expiresIn=60_000)
        refresh = await socket.expect("refresh")
        socket.push("refreshed", id=refresh["id"], expiresIn=900_000)
        await settle()
        assert socket.sent() == []


@virtual
async def test_a_failure_for_now_is_tried_again() -> None:
    tokens = Tokens("first", OSError("away"), OSError("away"))
    async with World(auth=tokens) as world:
        socket = await world.connected(expiresIn=20_000)
        assert (await socket.expect("refresh"))["token"] == "token4"
        assert world.statuses() == ["connecting", "connected"]


@virtual
async def test_not_after_the_token_has_expired() -> None:
    tokens = Tokens("first", *[OSError("away")] * 5_000)
    async with World(auth=tokens) as world:
        await world.connected(expiresIn=1_000, heartbeat={"interval": 10**9, "timeout": 10**9})
        await wait(1_000)
        count = tokens.count
        await wait(100_000)
        assert tokens.count == count


@virtual
async def test_a_refusal_for_good_ends_the_client() -> None:
    tokens = Tokens("first", NotificationError("UNAUTHENTICATED", "Log in again."))
    async with World(auth=tokens) as world:
        socket = await world.connected()
        socket.push("token_expiring", expiresIn=60_000)
        await settle()
        (ended,) = world.told("connection_ended")
        assert ended.error.reason == "authentication_failed"
        assert not socket.is_open


@virtual
async def test_what_the_server_says_about_a_refresh() -> None:
    async with World(auth=Tokens()) as world:
        socket = await world.connected()
        socket.push("token_expiring", expiresIn=60_000)
        refuse(socket, await socket.expect("refresh"), "UNAVAILABLE", temporary=True, retryAfter=50)
        refuse(socket, await socket.expect("refresh"), "FORBIDDEN")
        await settle()
        (told,) = world.told("server_error")
        assert told.error.code == "FORBIDDEN"
        assert world.statuses()[-1] == "connected"


@virtual
async def test_a_string_is_not_refreshed() -> None:
    async with World() as world:
        socket = await world.connected(expiresIn=1_000)
        socket.push("token_expiring", expiresIn=100)
        await wait(1_500)
        assert socket.sent() == []


@virtual
async def test_a_refresh_on_its_way_ends_with_its_connection() -> None:
    gate = asyncio.Event()
    tokens = iter(["first", "late", "third"])

    async def token() -> str:
        found = next(tokens)
        if found == "late":
            await gate.wait()
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
        assert socket.sent() == []
