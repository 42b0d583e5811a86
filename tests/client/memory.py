"""A network in memory: the test is the server, frame by frame."""

import asyncio
import json
from collections import deque
from typing import Any

from bellwether_client.codes import CloseCode
from bellwether_client.transport import Refused, Socket, SocketClosed, Unreachable, Unusable

WAIT = 300.0
"""Virtual seconds after which what a test waits for will not come."""

Frame = dict[str, Any]


class MemorySocket:
    """One connection, seen from both sides. Text only."""

    def __init__(self, subprotocol: str) -> None:
        self.subprotocol = subprotocol
        self.is_open = True
        self.close_code: int | None = None
        self._to_client: asyncio.Queue[str | SocketClosed] = asyncio.Queue()
        self._from_client: deque[Frame] = deque()
        self._changed = asyncio.Event()

    # --- The client's side ----------------------------------------------------------------------

    async def send(self, data: str | bytes) -> None:
        if not self.is_open:
            raise SocketClosed(CloseCode.ABNORMAL)
        self._from_client.append(json.loads(data))
        self._changed.set()

    async def receive(self) -> str | bytes:
        found = await self._to_client.get()
        if isinstance(found, SocketClosed):
            raise found
        return found

    async def close(self, code: int) -> None:
        self._closed_by_client(code)

    def abort(self) -> None:
        self._closed_by_client(CloseCode.ABNORMAL)

    def _closed_by_client(self, code: int) -> None:
        if self.is_open:
            self.is_open = False
            self.close_code = code
            self._to_client.put_nowait(SocketClosed(code))
        self._changed.set()

    # --- The server's side ----------------------------------------------------------------------

    def push(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        self.push_text(json.dumps({"type": kind, **fields}))

    def push_text(self, text: str) -> None:
        """Send whatever it is."""
        if self.is_open:
            self._to_client.put_nowait(text)

    def shut(self, code: int) -> None:
        """Close it; 1006: drop it."""
        if self.is_open:
            self.is_open = False
            self._to_client.put_nowait(SocketClosed(code))

    def sent(self) -> list[Frame]:
        """Take what the client has sent and nobody expected."""
        found = list(self._from_client)
        self._from_client.clear()
        return found

    async def next(self) -> Frame | None:
        """Return the next frame of the client; None when it has gone."""
        while not self._from_client:
            if not self.is_open:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._from_client.popleft()

    async def expect(self, kind: str) -> Frame:
        """Return the next frame of this type; only pings and verify may come before it."""
        async with asyncio.timeout(WAIT):
            while (frame := await self.next()) is not None:
                if frame["type"] == kind:
                    return frame
                assert frame["type"] in ("ping", "verify"), f"{frame} came, not {kind}"
        raise AssertionError(f"the client left, and sent no {kind}")

    async def until_closed(self) -> int | None:
        """Wait until the client closes it; returns its code."""
        async with asyncio.timeout(WAIT):
            while self.is_open:
                self._changed.clear()
                await self._changed.wait()
        return self.close_code


class Network:
    """Opens such sockets. refusals: what the next attempts meet instead."""

    def __init__(self) -> None:
        self.refusals: list[Refused | Unreachable | Unusable] = []
        self.attempts = 0
        self._opened: asyncio.Queue[MemorySocket] = asyncio.Queue()

    async def open(self, url: str, subprotocol: str) -> Socket:
        self.attempts += 1
        await asyncio.sleep(0.001)
        if self.refusals:
            raise self.refusals.pop(0)
        socket = MemorySocket(subprotocol)
        self._opened.put_nowait(socket)
        return socket

    async def socket(self) -> MemorySocket:
        """Return the next connection."""
        async with asyncio.timeout(WAIT * 20):
            return await self._opened.get()

    async def socket_of_anybody(self) -> MemorySocket:
        """Return the next connection, however long that takes."""
        return await self._opened.get()
