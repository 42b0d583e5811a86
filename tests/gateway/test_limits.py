"""Limits of connections on a real server, seen by clients that are not ours."""

import asyncio
from contextlib import AsyncExitStack

import pytest
import websockets

from tests.deployment import Deployment
from tests.socket_client import connect, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]


def make_key(deployment: Deployment) -> str:
    return deployment.key


async def refused(url: str) -> tuple[int, str | None]:
    """Connect and return the status and the Retry-After that it is refused with."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connect(url):
            pass
    response = caught.value.response
    return response.status_code, response.headers.get("Retry-After")


async def test_a_full_server_refuses_until_somebody_leaves(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_MAX_CONNECTIONS="2")
    async with session(server.socket_url, key, "a"):
        async with session(server.socket_url, key, "b"):
            assert await refused(server.socket_url) == (503, "5")
        async with asyncio.timeout(10):
            while True:
                try:
                    async with session(server.socket_url, key, "c"):
                        break
                except websockets.InvalidStatus:
                    await asyncio.sleep(0.05)


async def test_sockets_that_do_not_authenticate_are_few(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connect(server.socket_url)) for _ in range(20)]
        assert await refused(server.socket_url) == (429, "1")
        assert (await silent[0].authenticate(key, "speaks"))["type"] == "auth_success"
        await stack.enter_async_context(connect(server.socket_url))
        assert await refused(server.socket_url) == (429, "1")


async def test_a_user_has_so_many_connections(embedded: Deployment) -> None:
    key = make_key(embedded)
    other = embedded.manage("create_api_key", "other").strip()
    server = embedded.start(NOTIFICATIONS_MAX_CONNECTIONS_PER_USER="2")
    async with (
        session(server.socket_url, key, "a") as first,
        session(server.socket_url, key, "b"),
        session(server.socket_url, other, "a"),
        connect(server.socket_url) as third,
    ):
        error = await third.authenticate(key, "c")
        assert (error["type"], error["code"]) == ("error", "LIMIT_CONNECTIONS")
        assert error["retryAfter"] > 0
        assert (await third.closed())[0] == 4429
        # The same client again takes its own place.
        async with session(server.socket_url, key, "a"):
            assert (await first.closed())[0] == 4504


async def test_limits_of_users_and_addresses_can_be_lifted(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(
        NOTIFICATIONS_RATE_LIMITS="off", NOTIFICATIONS_MAX_CONNECTIONS_PER_USER="1"
    )
    async with AsyncExitStack() as stack:
        for number in range(3):
            await stack.enter_async_context(session(server.socket_url, key, f"c{number}"))
        for _ in range(25):
            await stack.enter_async_context(connect(server.socket_url))
