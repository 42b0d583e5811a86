"""One read that brings thousands of frames is taken in turns, whole and in order."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from bench.load import upgrade
from notifications.gateway.http_protocol import HttpProtocol
from notifications.gateway.uvicorn_protocol import SLICE, SocketProtocol
from tests.gateway.raw_socket import FIN, PING, PONG, TEXT, RawSocket, raw_frame

turns: Counter[int] = Counter()
"""Frames that were parsed in each turn of the event loop."""


class Counting(SocketProtocol):
    """Counts the frames of each turn."""

    turn = 0

    def handle_events(self) -> None:
        turns[self.turn] += len(self.conn.events)
        super().handle_events()


async def echo(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


@pytest.fixture
async def peer() -> AsyncIterator[RawSocket]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(echo, http=HttpProtocol, ws=Counting, lifespan="off", log_config=None)
    config.ws_ping_interval = None
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([listening]))
    turning = asyncio.create_task(_count_turns())
    while not server.started:
        await asyncio.sleep(0.001)
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    key = upgrade.new_key()
    writer.write(upgrade.request("/", 1, {}, key))
    upgrade.accept(await reader.readuntil(b"\r\n\r\n"), key)
    turns.clear()
    yield RawSocket(reader, writer, "json")
    writer.transport.abort()
    turning.cancel()
    server.should_exit = True
    await serving


async def _count_turns() -> None:
    while True:
        Counting.turn += 1
        await asyncio.sleep(0)


async def test_pings_are_answered_in_turns(peer: RawSocket) -> None:
    ping = raw_frame(FIN | PING, b"")
    count = 20_000
    await peer.send(ping * count, raw_frame(FIN | TEXT, b"last"))
    pongs = 0
    while (got := await peer.receive()) != (TEXT, b"last"):
        assert got == (PONG, b"")
        pongs += 1
    assert pongs == count
    assert sum(turns.values()) == count + 1
    assert max(turns.values()) <= SLICE // len(ping) + 1


async def test_messages_are_taken_in_turns_and_in_order(peer: RawSocket) -> None:
    """Small ones, and one in between that is larger than a slice."""
    texts = [b"%d" % number for number in range(10_000)]
    texts[5_000] = b"x" * 60_000
    echoed = asyncio.create_task(_texts(peer, len(texts)))
    await peer.send(*(raw_frame(FIN | TEXT, text) for text in texts))
    assert await echoed == texts
    assert max(turns.values()) <= SLICE // len(raw_frame(FIN | TEXT, b"1")) + 1


async def _texts(peer: RawSocket, count: int) -> list[bytes]:
    return [(await peer.receive())[1] for _ in range(count)]
