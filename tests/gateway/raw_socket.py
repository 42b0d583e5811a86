"""A WebSocket client that sends bytes as they are: what no library would send."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack

from bench.load import upgrade
from tests.deployment import Server
from tests.socket_client import SUBPROTOCOLS

WAIT = 20.0

FIN = 0x80
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def raw_frame(first: int, payload: bytes, *, mask: bool = True, claims: int | None = None) -> bytes:
    """Write a frame. first: its first byte. claims: the length that it says it has."""
    size = len(payload) if claims is None else claims
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65_536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = os.urandom(4)
    masked = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    return head + key + masked


class RawSocket:
    """An upgraded connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: str
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.is_binary = codec == "msgpack"

    async def send(self, *parts: bytes) -> None:
        """Send bytes; the server may have closed."""
        try:
            self.writer.write(b"".join(parts))
            await asyncio.wait_for(self.writer.drain(), WAIT)
        except ConnectionError:
            pass

    async def send_frame(self, frame: Any) -> None:
        """Send a frame of the protocol."""
        if self.is_binary:
            await self.send(raw_frame(FIN | BINARY, msgpack.packb(frame)))
        else:
            await self.send(raw_frame(FIN | TEXT, json.dumps(frame).encode()))

    async def receive(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next WebSocket frame."""
        async with asyncio.timeout(WAIT):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def until_closed(self) -> tuple[int, list[Any]]:
        """Return the code of the close that comes (0: none) and the frames before it."""
        frames: list[Any] = []
        try:
            while True:
                opcode, payload = await self.receive()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big"), frames
                if opcode in (TEXT, BINARY):
                    frames.append(self._decode(payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, frames

    async def next_frame(self, kind: str) -> Any:
        """Return the next frame of the protocol that is of a kind; others are passed over."""
        while True:
            opcode, payload = await self.receive()
            assert opcode != CLOSE, payload
            if opcode in (TEXT, BINARY):
                frame = self._decode(payload)
                if frame["type"] == kind:
                    return frame

    def _decode(self, payload: bytes) -> Any:
        return msgpack.unpackb(payload) if self.is_binary else json.loads(payload)


@asynccontextmanager
async def raw_socket(server: Server, codec: str = "json") -> AsyncIterator[RawSocket]:
    """Open a connection and upgrade it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        key = upgrade.new_key()
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOLS[codec]}
        writer.write(upgrade.request("/ws", server.port, headers, key))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)
        assert upgrade.accept(head, key) == b""
        yield RawSocket(reader, writer, codec)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def raw_session(
    server: Server, token: str, client_id: str, codec: str = "json"
) -> AsyncIterator[RawSocket]:
    """Open a connection and authenticate."""
    async with raw_socket(server, codec) as socket:
        await socket.send_frame({"type": "auth", "token": token, "clientId": client_id})
        await socket.next_frame("auth_success")
        yield socket
