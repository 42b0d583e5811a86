"""A subscriber whose socket is read by hand: slowly, or not at all, and reset when told so."""

import asyncio
import json
import socket
import struct
from typing import Any

from bench.load import upgrade
from bench.load.dialects import expect, frame
from bench.load.frames import Opcode, encode, split

HEADERS = {"Sec-WebSocket-Protocol": "notifications.v1.json"}

WINDOW = 4096
"""Bytes that its kernel is asked to take for it."""

SEGMENT = 1_448
"""Bytes in a segment, as over Ethernet. Over loopback they have 64 KiB, and the server's kernel
takes megabytes for each peer that reads nothing, before the server has to hold anything."""


class Sluggish:
    """One client of a server at a port of this machine, for one connection.

    had: the messages that it read in full, by their numbers. place: of the last of them, as its
    partition and offset.
    """

    def __init__(self, port: int, key: str, client_id: str, topic: str) -> None:
        self._port = port
        self.key = key
        self.client_id = client_id
        self._topic = topic
        self._socket = socket.socket()
        self._data = b""
        self.success: dict[str, Any] = {}
        self.had: list[int] = []
        self.place: tuple[int, int] | None = None

    async def open(self) -> None:
        """Connect and subscribe."""
        loop = asyncio.get_running_loop()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        key = upgrade.new_key()
        await loop.sock_sendall(self._socket, upgrade.request("/ws", self._port, HEADERS, key))
        while (rest := upgrade.accept(self._data, key)) is None:
            self._data += await self._receive()
        self._data = rest
        auth = frame(type="auth", token=self.key, clientId=self.client_id)
        self.success = await self._ask(auth, "auth_success")
        await self._ask(frame(type="subscribe", id=1, topic=self._topic), "subscribed")

    async def _receive(self) -> bytes:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        if not data:
            raise ConnectionError("closed before it was subscribed")
        return data

    async def _ask(self, request: bytes, wanted: str) -> dict[str, Any]:
        await asyncio.get_running_loop().sock_sendall(self._socket, encode(Opcode.TEXT, request))
        while True:
            frames, self._data = split(self._data, 1)
            if frames and frames[0].opcode is Opcode.TEXT:
                return expect(frames[0].payload, wanted)
            if not frames:
                self._data += await self._receive()

    async def sip(self, size: int) -> None:
        """Read so many bytes a second until the server closes or the task is cancelled."""
        loop = asyncio.get_running_loop()
        parts: list[bytes] = [self._data]
        try:
            while data := await loop.sock_recv(self._socket, size):
                parts.append(data)
                await asyncio.sleep(len(data) / size)
        except ConnectionError:
            pass
        finally:
            self._data = b"".join(parts)

    def local_port(self) -> int:
        """Return the port at this end."""
        return int(self._socket.getsockname()[1])

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    def leave(self) -> None:
        """Close the socket, and look at what was read from it; again, nothing happens."""
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        for one in split(self._data)[0]:
            if one.opcode is Opcode.TEXT:
                read = json.loads(one.payload)
                if read["type"] == "message" and "seq" in read:  # ephemeral ones have none
                    self.had.append(read["seq"])
                    self.place = tuple(read["position"])
