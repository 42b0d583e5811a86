"""Peers that stop reading: nothing of them stays, whatever they do besides, and others go on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from bench.load import upgrade
from notifications.gateway import uvicorn_protocol
from notifications.gateway.http_protocol import HttpProtocol
from notifications.gateway.uvicorn_protocol import SocketProtocol
from tests.deployment import Deployment
from tests.gateway.raw_socket import CLOSE, CONT, FIN, PING, TEXT, raw_frame
from tests.gateway.servers import SERVERS
from tests.resilience.observed import DEPLOYED, back_to, figures, held
from tests.resilience.sluggish import Sluggish
from tests.socket_client import session

WAIT = 30.0
BIG = "x" * 40_000
MESSAGES = 300
"""More of them than the kernel takes for a peer that does not read."""


@pytest.mark.server
@pytest.mark.sqlite
async def test_a_peer_that_reads_nothing_is_dropped_in_time(embedded: Deployment) -> None:
    """Its buffer has room for all that waits, and it answers no ping; the write timeout ends it."""
    embedded.env.update(DEPLOYED)
    key = embedded.manage(
        "create_api_key", "k", "--grant-publish=**", "--grant-subscribe=**"
    ).strip()
    server = embedded.start(
        NOTIFICATIONS_WRITE_TIMEOUT_SECONDS="1",
        NOTIFICATIONS_BUFFER_BYTES="50000000",
        NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS="1",
        NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS="600",
    )
    async with session(server.socket_url, key, "reads") as reads:
        await reads.subscribe("much.*")
        await reads.request("publish", topic="much.a", payload=BIG)
        await reads.message()
        base = await asyncio.to_thread(held, server)
        deaf = Sluggish(server, key, "deaf", "much.a")
        await deaf.open()
        for number in range(MESSAGES):
            await reads.send(
                {"type": "publish", "id": f"p{number}", "topic": "much.a", "payload": BIG}
            )
            assert (await reads.message())["seq"] == number + 2
        await back_to(server, base, within=WAIT)
        known = await asyncio.to_thread(figures, server)
        assert known['bellwether_connections_closed_total{code="4409"}'] == 1
        assert known["bellwether_buffers_overflowed_total"] == 0
        deaf.leave()
    assert embedded.query("SELECT reason FROM notifications_session WHERE client_id = 'deaf'") == [
        ("slow_consumer",)
    ]


@pytest.mark.server
@pytest.mark.sqlite
async def test_plain_asgi_keeps_nothing_for_a_peer_that_does_not_take_its_close(
    embedded: Deployment,
) -> None:
    """Its socket is the server's, which may keep it; its place, its tasks and its frames go."""
    embedded.env.update(DEPLOYED)
    key = embedded.manage(
        "create_api_key", "k", "--grant-publish=**", "--grant-subscribe=**"
    ).strip()
    # It pings nobody, so nothing else ends the connection.
    no_pings = (*SERVERS["uvicorn"], "--ws-ping-interval", "3600")
    server = embedded.start(*no_pings, NOTIFICATIONS_BUFFER_BYTES="200000")
    async with session(server.socket_url, key, "reads") as reads:
        await reads.subscribe("much.*")
        await reads.request("publish", topic="much.a", payload=BIG)
        await reads.message()
        base = await asyncio.to_thread(held, server)
        deaf = Sluggish(server, key, "deaf", "much.a")
        await deaf.open()
        for number in range(MESSAGES // 3):
            await reads.send(
                {"type": "publish", "id": f"p{number}", "topic": "much.a", "payload": BIG}
            )
            assert (await reads.message())["seq"] == number + 2
        one_socket = base._replace(descriptors=base.descriptors + 1)
        await back_to(server, one_socket, within=WAIT)
        known = await asyncio.to_thread(figures, server)
        assert known['bellwether_connections_closed_total{code="4409"}'] == 1
        deaf.leave()
    assert "Traceback" not in server.log.read_text()


# --- Under uvicorn itself -------------------------------------------------------------------------


class Pouring:
    """An application that sends without end, and ends with its socket."""

    def __init__(self) -> None:
        self.protocols: list[SocketProtocol] = []

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.protocols.append(scope["extensions"]["bellwether.transport"])
        await receive()
        await send({"type": "websocket.accept"})
        while self.protocols[-1].can_write():
            await send({"type": "websocket.send", "text": BIG})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@asynccontextmanager
async def pouring_to_a_deaf_peer() -> AsyncIterator[
    tuple[uvicorn.Server, SocketProtocol, socket.socket]
]:
    """Yield a server, its side of a socket that it cannot write to, and the peer's."""
    pouring = Pouring()
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        pouring, http=HttpProtocol, ws=SocketProtocol, lifespan="off", log_config=None
    )
    config.ws_ping_interval = None
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listening]))
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    try:
        await until(lambda: server.started)
        await loop.sock_connect(peer, listening.getsockname())
        await loop.sock_sendall(peer, upgrade.request("/ws", 1, {}, upgrade.new_key()))
        await until(lambda: bool(pouring.protocols) and not pouring.protocols[0].writable.is_set())
        yield server, pouring.protocols[0], peer
    finally:
        peer.close()
        server.should_exit = True
        await task


async def say(peer: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(peer, data)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not done():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "last",
    [raw_frame(FIN | CLOSE, b"\x03\xe8"), raw_frame(FIN | TEXT, b"", mask=False)],
    ids=["a close", "a broken frame"],
)
async def test_who_closes_and_does_not_read_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    monkeypatch.setattr(uvicorn_protocol, "LINGER", 0.1)
    async with pouring_to_a_deaf_peer() as (server, _, peer):
        assert len(server.server_state.connections) == 1
        await say(peer, last)
        await until(lambda: not server.server_state.connections)


async def test_answers_to_pings_do_not_pile_up() -> None:
    async with pouring_to_a_deaf_peer() as (_, protocol, peer):
        before = protocol.unsent()
        for _ in range(20):
            await say(peer, raw_frame(FIN | PING, b"x" * 125) * 100)
        seen = protocol.last_received
        await asyncio.sleep(0.01)
        await say(peer, raw_frame(FIN | PING, b"x" * 125))
        await until(lambda: protocol.last_received > seen)
        assert protocol.unsent() <= before


async def test_fragments_do_not_pile_up() -> None:
    async with pouring_to_a_deaf_peer() as (_, protocol, peer):
        seen = protocol.last_received
        await say(
            peer, raw_frame(TEXT, b"x") + raw_frame(CONT, b"") * 1_000 + raw_frame(CONT, b"y")
        )
        await until(lambda: protocol.last_received > seen and b"y" in protocol.frames[-1:])
        assert len(protocol.frames) < 100
        assert b"".join(protocol.frames) == b"xy"


async def test_who_reads_a_little_is_seen_to_read() -> None:
    """Long before the kernel takes more from the server, which it does by large parts."""
    async with pouring_to_a_deaf_peer() as (_, protocol, peer):
        kept, unsent = protocol.transport.get_write_buffer_size(), protocol.unsent()
        assert kept > 0
        for _ in range(4):
            assert await asyncio.get_running_loop().sock_recv(peer, 4096)
        await until(lambda: protocol.unsent() < unsent)
        assert protocol.transport.get_write_buffer_size() == kept
