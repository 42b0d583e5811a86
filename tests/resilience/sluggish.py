"""A subscriber whose socket is read by hand: slowly, or not at all, and reset when told so."""

import asyncio
import json
import socket
import struct
from typing import Any

from bench.load import upgrade
from bench.load.dialects import expect, frame
from bench.load.frames import Opcode, encode, split
from tests.deployment import Server
from tests.socket_client import Frame, connect

HEADERS = {"Sec-WebSocket-Protocol": "notifications.v1.json"}

WINDOW = 4096
"""Bytes that its kernel is asked to take for it."""


class Sluggish:
    """One client of a server, from its first connection to the end of its resume.

    had: the messages of the first connection that it read in full, by their numbers.
    """

    def __init__(self, server: Server, key: str, client_id: str, topic: str) -> None:
        self._server = server
        self._key = key
        self.client_id = client_id
        self._topic = topic
        self._socket = socket.socket()
        self._data = b""
        self.success: Frame = {}
        self.had: list[int] = []
        self._place: tuple[int, int] | None = None

    async def open(self) -> None:
        """Connect and subscribe."""
        loop = asyncio.get_running_loop()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, ("127.0.0.1", self._server.port))
        key = upgrade.new_key()
        await loop.sock_sendall(
            self._socket, upgrade.request("/ws", self._server.port, HEADERS, key)
        )
        while (rest := upgrade.accept(self._data, key)) is None:
            self._data += await self._receive()
        self._data = rest
        auth = frame(type="auth", token=self._key, clientId=self.client_id)
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
                if read["type"] == "message":
                    self.had.append(read["seq"])
                    self._place = tuple(read["position"])

    async def resume(self, last: int) -> list[int]:
        """Come back, wait for the message with the number `last`, return all numbers that came."""
        cursor = self.success["cursor"]
        if self._place is not None:
            partition, offset = self._place
            cursor = {**cursor, "offsets": {**cursor["offsets"], str(partition): offset}}
        resume = {"sessionId": self.success["sessionId"], "cursor": cursor}
        async with connect(self._server.socket_url, ping_interval=None) as client:
            answer = await client.authenticate(self._key, self.client_id, resume=resume)
            assert answer["resumed"] is True, answer
            got: list[int] = []
            while (read := await client.receive(60))["type"] == "message":
                got.append(read["seq"])
            assert (read["type"], read["recovered"]) == ("replay_complete", True), read
            while not got or got[-1] < last:
                got.append((await client.message(60))["seq"])
            return got
