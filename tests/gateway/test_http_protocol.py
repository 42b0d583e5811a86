"""Requests that never become any, to our HTTP protocol under a real uvicorn."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from notifications.gateway import http_protocol
from notifications.gateway.http_protocol import HEAD_BYTES, HttpProtocol
from notifications.gateway.uvicorn_protocol import SocketProtocol

WAIT = 30.0
LATE = 0.3
"""Seconds that the deadlines have here."""


async def answer(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer with the size of the body that came, or accept a socket."""
    if scope.get("path") == "/slow":
        await asyncio.sleep(LATE * 2)
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    size = 0
    while (event := await receive())["type"] == "http.request":
        size += len(event["body"])
        if not event["more_body"]:
            break
    else:
        return
    body = b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        answer, http=HttpProtocol, ws=SocketProtocol, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listening]))
    while not server.started:
        await asyncio.sleep(0.001)
    yield listening.getsockname()[1]
    server.should_exit = True
    await task


async def said(port: int, *parts: bytes, pause: float = 0.0, endless: bytes = b"") -> bytes:
    """Send parts with pauses between them, then something without end; return what came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            while endless:
                writer.write(endless)
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass

    sending = asyncio.create_task(send())
    try:
        async with asyncio.timeout(WAIT):
            return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
END = b"Connection: close\r\n\r\n"


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_DEADLINE", LATE)
    monkeypatch.setattr(http_protocol, "BODY_DEADLINE", LATE)


async def test_a_request_in_pieces_is_answered(port: int) -> None:
    pieces = [bytes((byte,)) for byte in HEAD + END]
    assert (await said(port, *pieces)).endswith(b"\r\n\r\n0")
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    assert (await said(port, post, END, b"a", b"b", b"c", pause=0.01)).endswith(b"\r\n\r\n3")


@pytest.mark.usefixtures("hurry")
async def test_a_head_without_end_is_not_waited_for(port: int) -> None:
    assert (await said(port, HEAD)).startswith(b"HTTP/1.1 408 ")
    upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    for head, endless in ((HEAD, b"X"), (HEAD, b"X: y\r\n"), (upgrade, b"X: y\r\n")):
        # Who goes on sending may be reset before it has read the answer.
        got = await said(port, head, endless=endless)
        assert got == b"reset" or got.startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("hurry")
async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert await said(port) == b""


@pytest.mark.usefixtures("hurry")
async def test_a_second_request_has_a_deadline_too(port: int) -> None:
    got = await said(port, HEAD + b"\r\n", HEAD, pause=0.05)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in got


@pytest.mark.usefixtures("hurry")
async def test_what_is_late_behind_a_request_is_not_told_as_its_answer(port: int) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    got = await said(port, slow + HEAD)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 408 ") == 1


@pytest.mark.usefixtures("hurry")
async def test_a_body_that_does_not_come_is_not_waited_for(port: int) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    assert await said(port, post) == b""
    assert await said(port, post, b"a", pause=0.05) == b""


@pytest.mark.usefixtures("hurry")
async def test_nothing_is_late_once_it_came(port: int) -> None:
    """Neither an open socket nor a connection that is kept alive is closed by a deadline."""
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    got = await said(
        port, upgrade, b"\x89\x80\x00\x00\x00\x00", b"\x88\x80\x00\x00\x00\x00", pause=2 * LATE
    )
    assert got.startswith(b"HTTP/1.1 101 ")
    assert b"\x8a\x00" in got
    request = HEAD + b"\r\n"
    got = await said(port, request, request, HEAD + END, pause=2 * LATE)
    assert got.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    "filling", [b"X" * 8_000, b"X: " + b"y" * 80 + b"\r\n", b"A:\r\n" * 100], ids=len
)
async def test_a_head_has_a_size(port: int, filling: bytes) -> None:
    got = await said(port, HEAD, *[filling] * (2 * HEAD_BYTES // len(filling)), pause=0.0001)
    assert got.startswith(b"HTTP/1.1 431 ") or got == b"reset"
