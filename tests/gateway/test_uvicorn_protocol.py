"""The contract with uvicorn: our protocol class leans on its internals, so they are tested."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from notifications.hub.encoded import Encoded
from notifications.protocol.codec import MSGPACK
from tests.deployment import Deployment, Server
from tests.socket_client import connect, session

BIG = "x" * 40_000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_on_the_wire_is_what_the_library_writes(size: int) -> None:
    data = b"a" * size
    assert Encoded(data).framed == Frame(Opcode.TEXT, data).serialize(mask=False)
    assert Encoded(data, MSGPACK).framed == Frame(Opcode.BINARY, data).serialize(mask=False)


def make_key(deployment: Deployment) -> str:
    return deployment.key


def figure(server: Server, name: str) -> float:
    lines = server.request("GET", "/metrics").body.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def small_window() -> socket.socket:
    """A socket whose kernel takes little for a peer that does not read."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return peer


async def connect_deaf(server: Server) -> socket.socket:
    peer = small_window()
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", server.port))
    return peer


@pytest.mark.server
@pytest.mark.sqlite
async def test_a_peer_that_does_not_read_is_dropped_and_harms_nobody(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_BUFFER_BYTES="200000")
    peer = await connect_deaf(server)
    async with (
        connect(server.socket_url, sock=peer, max_queue=1) as deaf,
        session(server.socket_url, key, "reads") as reads,
    ):
        assert (await deaf.authenticate(key, "deaf"))["type"] == "auth_success"
        await deaf.subscribe("slow.a")
        await reads.subscribe("slow.a")
        for number in range(300):
            answer = await reads.request("publish", topic="slow.a", payload=[number, BIG])
            assert answer["type"] == "published"
        received: list[Any] = [message["payload"][0] for message in await reads.messages(300)]
        assert received == list(range(300))
        assert figure(server, "bellwether_buffers_overflowed_total") == 1
        async with asyncio.timeout(20):
            while figure(server, "bellwether_connections") != 1:
                await asyncio.sleep(0.1)
        (state,) = embedded.query(
            "SELECT state, reason FROM notifications_session WHERE client_id = 'deaf'"
        )
        assert state == ("reconnecting", "slow_consumer")


@pytest.mark.server
@pytest.mark.sqlite
async def test_a_slow_peer_within_its_bound_gets_everything(embedded: Deployment) -> None:
    """Its transport pauses and resumes; what waits in between is written when it reads again."""
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_BUFFER_BYTES="50000000")
    peer = await connect_deaf(server)
    async with (
        connect(server.socket_url, sock=peer, max_queue=1) as slow,
        session(server.socket_url, key, "publishes") as publishes,
    ):
        await slow.authenticate(key, "slow")
        await slow.subscribe("slow.a")
        for number in range(300):
            await publishes.request("publish", topic="slow.a", payload=[number, BIG])
        received = [message["payload"][0] for message in await slow.messages(300, timeout=60)]
        assert received == list(range(300))
        assert figure(server, "bellwether_buffers_overflowed_total") == 0


@pytest.mark.server
@pytest.mark.sqlite
async def test_websocket_level_pongs_are_signs_of_life(embedded: Deployment) -> None:
    """A client that sends no frames of its own, but whose library answers pings, stays."""
    key = make_key(embedded)
    server = embedded.start(
        NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS="1", NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS="1"
    )
    async with (
        session(server.socket_url, key, "silent, but answers") as answers,
        connect(server.socket_url, ping_interval=None) as vanished,
    ):
        await vanished.authenticate(key, "vanished")
        vanished.connection.transport.pause_reading()
        async with asyncio.timeout(30):
            while figure(server, "bellwether_connections") != 1:
                await asyncio.sleep(0.2)
        assert 'bellwether_connections_closed_total{code="4408"} 1.0' in (
            server.request("GET", "/metrics").body
        )
        await answers.subscribe("a.b")
        vanished.connection.transport.abort()


@pytest.mark.server
@pytest.mark.sqlite
async def test_pings_are_for_the_silent_and_come_one_by_one(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS="1")
    heard: dict[str, list[str]] = {"silent": [], "lively": []}

    def logger(name: str) -> logging.Logger:
        made = logging.Logger(name, logging.DEBUG)
        handler = logging.Handler()
        handler.emit = lambda record: heard[name].append(record.getMessage())  # type: ignore[method-assign]
        made.addHandler(handler)
        return made

    def pings(name: str) -> int:
        return sum(line.startswith("< PING") for line in heard[name])

    async with (
        connect(server.socket_url, ping_interval=None, logger=logger("silent")) as silent,
        connect(server.socket_url, ping_interval=None, logger=logger("lively")) as lively,
    ):
        await silent.authenticate(key, "silent")
        await lively.authenticate(key, "lively")
        async with asyncio.timeout(60):
            # The lively one was never silent for an interval, unless this machine was.
            while pings("silent") < 3 or pings("lively") >= pings("silent"):
                await lively.request("verify", subscriptionIds=[])
                await asyncio.sleep(0.05)
        assert await silent.request("verify", subscriptionIds=[])
