"""A TCP proxy between a client and a real server, which does to their connection what breaks one.

Faults are given out in order, one for each connection; after the last one all is well.
"""

import asyncio
import socket as sockets
import struct
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from tests.clients.stream import FrameCutter, Piece

_CHUNK: Final = 65_536

# Not the address of the tests' servers, where there are others: a client of another test that comes
# back to the port of its dead server must not come here.
_HOST: Final = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"


@dataclass(frozen=True)
class Cut:
    """End the connection when the n-th frame (from 0, both directions counted) is under way.

    byte: how many of the frame's bytes go through; at its end where it has no more.
    """

    frame: int
    byte: int


@dataclass(frozen=True)
class Reset:
    """End both sides with RST once this many frames, of both directions, have gone through."""

    frames: int


@dataclass(frozen=True)
class HalfOpen:
    """From this frame on swallow everything and keep the connection, as a dead peer would."""

    frames: int


@dataclass(frozen=True)
class Latency:
    """Hold back every chunk for some seconds in each direction, in order."""

    seconds: float


Fault = Cut | Reset | HalfOpen | Latency | None


@dataclass
class Passage:
    """A connection through the proxy. frames: that went through whole; sizes: of those, in order.

    answered: whether a whole frame of the server went through, which is `auth_success` or a
    refusal.
    """

    fault: Fault
    frames: int = 0
    sizes: list[int] = field(default_factory=list)
    answered: bool = False
    struck: bool = False
    is_open: bool = True

    @property
    def must_strike(self) -> bool:
        """Whether the fault ends the connection, sooner or later."""
        return isinstance(self.fault, Cut | Reset | HalfOpen)


class FaultProxy:
    """Listens on a free port and passes on to `port`; `passages` has each connection that came."""

    def __init__(self, port: int, faults: Iterable[Fault] = ()) -> None:
        self.passages: list[Passage] = []
        self._port = port
        self._faults = deque(faults)
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        """Where a client connects to."""
        return f"ws://{_HOST}:{self._server.sockets[0].getsockname()[1]}/ws"

    @property
    def is_spent(self) -> bool:
        """Whether all faults were given out."""
        return not self._faults

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        self._server.close()
        for writer in self._transports:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        await self._server.wait_closed()

    def reset_all(self) -> int:
        """Reset every connection that is open now, and return how many."""
        open_now = [writer for writer in self._transports if not writer.transport.is_closing()]
        for writer in open_now:
            _reset(writer)
        return len(open_now) // 2

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = Passage(self._faults.popleft() if self._faults else None)
        self.passages.append(passage)
        self._transports.append(writer)
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._transports.append(downstream)
        sides = [
            asyncio.create_task(_Direction(passage, reader, downstream, is_client=True).run()),
            asyncio.create_task(_Direction(passage, upstream, writer, is_client=False).run()),
        ]
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        passage.is_open = False
        for side in sides:
            side.cancel()
        await asyncio.wait(sides)
        for one in (writer, downstream):
            if isinstance(passage.fault, Reset) and passage.struck:
                _reset(one)
            else:
                await _finish(one)
        for one in (writer, downstream):
            self._transports.remove(one)


class _Direction:
    """Passes on one direction until it ends, or until the fault strikes."""

    def __init__(
        self,
        passage: Passage,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_client: bool,
    ) -> None:
        self._passage = passage
        self._reader = reader
        self._writer = writer
        self._is_client = is_client
        self._cutter = FrameCutter()
        self._of_frame = 0

    async def run(self) -> None:
        """Read and pass on."""
        with suppress(ConnectionError):
            while data := await self._reader.read(_CHUNK):
                if isinstance(self._passage.fault, Latency):
                    await asyncio.sleep(self._passage.fault.seconds)
                for piece in self._cutter.feed(data):
                    if not self._pass(piece):
                        return
                await self._writer.drain()

    def _pass(self, piece: Piece) -> bool:
        """Pass a piece on; False when the connection ends here."""
        passage = self._passage
        if passage.struck and not isinstance(passage.fault, HalfOpen):
            return False  # the other direction ended it
        match passage.fault:
            case HalfOpen(frames) if passage.frames >= frames and piece.frame >= 0:
                passage.struck = True
                return True
            case Reset(frames) if passage.frames >= frames and piece.frame >= 0:
                passage.struck = True
                return False
            case Cut(frame, byte) if passage.frames == frame and piece.frame >= 0:
                left = byte - self._of_frame
                if left < len(piece.data) or piece.ends:
                    passage.struck = True
                    self._write(piece.data[:left], ends=left >= len(piece.data))
                    return False
        if piece.frame < 0:
            self._writer.write(piece.data)  # the upgrade is no frame
        else:
            self._write(piece.data, ends=piece.ends)
        return True

    def _write(self, data: bytes, *, ends: bool) -> None:
        self._writer.write(data)
        self._of_frame += len(data)
        if ends:
            self._passage.frames += 1
            self._passage.sizes.append(self._of_frame)
            self._passage.answered |= not self._is_client
            self._of_frame = 0


async def _finish(writer: asyncio.StreamWriter) -> None:
    """Send what is left, then FIN."""
    with suppress(ConnectionError):
        writer.close()
        async with asyncio.timeout(2):
            await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End with RST rather than FIN: what waits is thrown away."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
