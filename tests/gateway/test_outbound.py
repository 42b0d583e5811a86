"""From the buffer to the socket: order, pauses, and who writes while a connection closes."""

import asyncio
from collections.abc import Callable

from notifications.gateway.outbound import WRITE_BYTES, DirectOutbound
from notifications.hub.buffer import Buffer, Flusher
from notifications.hub.encoded import Encoded


class Wire:
    """A transport that pauses when it is told to."""

    last_received = 0.0

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.open = True
        self.resume: Callable[[], None] = lambda: None

    def can_write(self) -> bool:
        return self.open

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def when_writable(self, call: Callable[[], None]) -> None:
        self.resume = call

    def abort(self) -> None:
        self.open = False


def connect() -> tuple[Wire, DirectOutbound]:
    wire = Wire()
    outbound = DirectOutbound(wire, Flusher(asyncio.get_running_loop()))
    outbound.buffer = Buffer(10 * WRITE_BYTES, wake=outbound.wake, overflow=lambda: None)
    return wire, outbound


def framed(*texts: str) -> bytes:
    return b"".join(Encoded(text.encode()).framed for text in texts)


async def test_what_piled_up_goes_out_in_one_write() -> None:
    wire, outbound = connect()
    for text in ("a", "b", "c"):
        outbound.buffer.push(Encoded(text.encode()))
    await asyncio.sleep(0)
    assert (wire.written, wire.writes) == (framed("a", "b", "c"), 1)


async def test_a_paused_peer_gets_the_rest_when_it_reads_again() -> None:
    wire, outbound = connect()
    wire.open = False
    outbound.buffer.push(Encoded(b"a"))
    await asyncio.sleep(0)
    outbound.buffer.push(Encoded(b"b"))
    assert wire.written == b""
    wire.open = True
    wire.resume()
    assert wire.written == framed("a", "b")


async def test_one_write_is_bounded() -> None:
    wire, outbound = connect()
    for _ in range(5):
        outbound.buffer.push(Encoded(b"x" * (WRITE_BYTES // 2)))
    await asyncio.sleep(0)
    assert wire.writes == 3
    assert len(outbound.buffer) == 0


async def test_who_closes_is_not_overtaken() -> None:
    """While the closing side waits for the peer between two frames, a resume writes nothing."""
    wire, outbound = connect()
    wire.open = False
    for text in ("a", "b"):
        outbound.buffer.push(Encoded(text.encode()))
    await asyncio.sleep(0)
    await outbound.stop()
    first = outbound.buffer.pop()
    assert first is not None
    wire.open = True
    wire.resume()
    assert wire.written == b""
    assert len(outbound.buffer) == 1
