"""The proxy itself: it ends connections exactly where it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.clients.fault_proxy import Cut, Fault, FaultProxy, HalfOpen, Latency, Reset
from tests.clients.stream import FrameCutter

WAIT = 10.0


class Echo:
    """A server that answers each message with itself, and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []
        self.ended = asyncio.Event()

    async def serve(self, socket: ServerConnection) -> None:
        """Echo until the connection ends."""
        try:
            async for data in socket:
                self.got.append(data)
                await socket.send(data)
        except ConnectionClosed:
            pass
        self.ended.set()


@asynccontextmanager
async def through(fault: Fault) -> AsyncIterator[tuple[ClientConnection, Echo, FaultProxy]]:
    """Have a client at an echo server, through a proxy with this fault."""
    echo = Echo()
    async with serve(echo.serve, "127.0.0.1", 0, ping_interval=None, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with FaultProxy(port, [fault]) as proxy:
            async with connect(
                proxy.url, ping_interval=None, compression=None, close_timeout=0.2
            ) as client:
                yield client, echo, proxy
                client.transport.abort()


async def until_closed(client: ClientConnection) -> int:
    """Receive until the end, and return how many messages came."""
    count = 0
    async with asyncio.timeout(WAIT):
        while True:
            try:
                await client.recv()
            except ConnectionClosed:
                return count
            count += 1


async def test_without_a_fault_everything_goes_through() -> None:
    async with through(None) as (client, echo, proxy):
        for size in (0, 1, 125, 126, 65_535, 65_536, 200_000):
            text = "x" * size
            await client.send(text)
            assert await client.recv() == text
        assert len(echo.got) == 7
        (passage,) = proxy.passages
        assert passage.frames == 14
        # Two bytes of head and four of mask from a client, longer heads for longer payloads.
        assert passage.sizes[:8] == [6, 2, 7, 3, 131, 127, 134, 130]


@pytest.mark.parametrize("frame", [0, 1, 2, 3])
@pytest.mark.parametrize("byte", [0, 1, 5, 1000])
async def test_a_cut_ends_the_connection_within_its_frame(frame: int, byte: int) -> None:
    async with through(Cut(frame, byte)) as (client, echo, proxy):
        for text in ("first", "second"):
            await client.send(text)
            try:
                await client.recv()
            except ConnectionClosed:
                break
        await until_closed(client)
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()
        whole = frame + (byte == 1000)  # a cut at the end of a frame lets it through
        (passage,) = proxy.passages
        assert passage.struck
        assert passage.frames == whole
        assert len(echo.got) == (whole + 1) // 2


async def test_a_half_open_connection_swallows_both_directions() -> None:
    async with through(HalfOpen(2)) as (client, echo, proxy):
        await client.send("first")
        assert await client.recv() == "first"
        await client.send("second")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.recv()
        assert echo.got == ["first"]
        assert proxy.passages[0].is_open


async def test_a_reset_throws_the_connection_away() -> None:
    async with through(Reset(2)) as (client, echo, _):
        await client.send("first")
        assert await client.recv() == "first"
        await client.send("second")
        assert await until_closed(client) == 0
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()
        assert echo.got == ["first"]


async def test_latency_holds_back_and_keeps_the_order() -> None:
    async with through(Latency(0.1)) as (client, echo, _):
        loop = asyncio.get_running_loop()
        before = loop.time()
        for number in range(5):
            await client.send(str(number))
        assert [await client.recv() for _ in range(5)] == list("01234")
        assert loop.time() - before >= 0.2
        assert echo.got == list("01234")


async def test_all_are_reset_at_once() -> None:
    async with through(None) as (client, echo, proxy):
        await client.send("first")
        assert await client.recv() == "first"
        assert proxy.reset_all() == 1
        assert await until_closed(client) == 0
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()


def test_frames_are_found_however_their_bytes_arrive() -> None:
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    small = b"\x81\x05hello"
    masked = b"\x81\x85mask\x01\x02\x03\x04\x05"
    large = b"\x82\x7e\x01\x00" + bytes(256)
    stream = upgrade + small + masked + large
    for step in (1, 2, 3, 7, len(stream)):
        cutter = FrameCutter()
        pieces = [
            piece
            for start in range(0, len(stream), step)
            for piece in cutter.feed(stream[start : start + step])
        ]
        assert b"".join(piece.data for piece in pieces) == stream
        by_frame = {
            frame: b"".join(piece.data for piece in pieces if piece.frame == frame)
            for frame in (-1, 0, 1, 2)
        }
        assert by_frame == {-1: upgrade, 0: small, 1: masked, 2: large}
        assert [piece.frame for piece in pieces if piece.ends] == [-1, 0, 1, 2]
