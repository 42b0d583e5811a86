"""An operator disconnects a client: over real sockets, here and on another server."""

import asyncio
from typing import Any

import pytest

from tests.deployment import Deployment, Server
from tests.socket_client import WAIT, session

pytestmark = pytest.mark.server


async def ask(server: Server, method: str, path: str, key: str, body: Any = None) -> Any:
    return await asyncio.to_thread(server.request, method, path, body, key=key)


async def session_of(server: Server, key: str, client_id: str) -> dict[str, Any]:
    """The session of a client, once the server has written that it is connected."""
    async with asyncio.timeout(WAIT):
        while True:
            page = (await ask(server, "GET", "/api/v1/sessions?state=connected", key)).body
            for found in page["sessions"]:
                if found["clientId"] == client_id:
                    return dict(found)
            await asyncio.sleep(0.05)


async def disconnecting(holder: Server, asked: Server, key: str) -> None:
    async with session(holder.socket_url, key, "doomed") as client:
        await client.subscribe("a.b")
        found = await session_of(asked, key, "doomed")
        assert [held["topic"] for held in found["subscriptions"]] == ["a.b"]
        path = f"/api/v1/sessions/{found['id']}/disconnect"
        answer = await ask(asked, "POST", path, key, {"reason": "Good night."})
        assert answer.status == 202
        code, frames = await client.closed()
        assert code == 4503
        last = frames[-1]
        assert (last["type"], last["code"]) == ("disconnect", 4503)
        assert (last["reason"], last["reconnect"]) == ("Good night.", False)
    # What the server that held the socket reports afterwards does not overwrite the row.
    await asyncio.sleep(0.5)
    after = (await ask(asked, "GET", f"/api/v1/sessions/{found['id']}", key)).body
    assert (after["state"], after["reason"]) == ("disconnected", "server_initiated")
    assert after["subscriptions"] == []


def make_key(deployment: Deployment) -> str:
    return deployment.key


async def test_on_the_same_server(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    await disconnecting(server, server, key)


@pytest.mark.postgres
@pytest.mark.redis
async def test_on_another_server(cluster: Deployment) -> None:
    key = make_key(cluster)
    await disconnecting(cluster.start(), cluster.start(), key)
