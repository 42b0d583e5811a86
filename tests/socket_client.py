"""A WebSocket client for tests, over the `websockets` library: no code of ours on this side."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import websockets
from websockets.asyncio.client import ClientConnection

Frame = dict[str, Any]
WAIT = 30.0
SUBPROTOCOLS = {"json": "notifications.v1.json", "msgpack": "notifications.v1.msgpack"}


class SocketClient:
    """One socket; frames that nobody asked for yet wait in `inbox`.

    is_binary: whether it speaks MessagePack; JSON otherwise.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.is_binary = connection.subprotocol == SUBPROTOCOLS["msgpack"]
        self.inbox: list[Frame] = []
        self._ids = 0

    async def send(self, frame: Any) -> None:
        """Send a frame, a batch, or text or bytes as they are."""
        if not isinstance(frame, str | bytes):
            frame = msgpack.packb(frame) if self.is_binary else json.dumps(frame)
        await self.connection.send(frame)

    async def _recv(self) -> Frame:
        data = await self.connection.recv()
        assert isinstance(data, bytes) is self.is_binary
        frame: Frame = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        return frame

    async def receive(self, timeout: float = WAIT) -> Frame:
        """Receive the next frame."""
        if self.inbox:
            return self.inbox.pop(0)
        async with asyncio.timeout(timeout):
            return await self._recv()

    async def receive_until(self, wanted: Callable[[Frame], bool], timeout: float = WAIT) -> Frame:
        """Receive until a frame is wanted; those before it go back to the inbox."""
        passed: list[Frame] = []
        async with asyncio.timeout(timeout):
            while not wanted(frame := await self.receive(timeout)):
                passed.append(frame)
        self.inbox = passed + self.inbox
        return frame

    async def request(self, type_: str, **fields: Any) -> Frame:
        """Send a request and return its reply or error."""
        self._ids += 1
        request_id = fields.pop("id", self._ids)
        await self.send({"type": type_, "id": request_id, **fields})
        return await self.receive_until(lambda frame: frame.get("id") == request_id)

    async def authenticate(self, token: str, client_id: str = "test", **fields: Any) -> Frame:
        """Send auth and return its answer."""
        await self.send({"type": "auth", "token": token, "clientId": client_id, **fields})
        return await self.receive()

    async def subscribe(self, topic: str, **options: Any) -> Frame:
        """Subscribe and return the reply."""
        reply = await self.request("subscribe", topic=topic, **options)
        assert reply["type"] == "subscribed", reply
        return reply

    async def message(self, timeout: float = WAIT) -> Frame:
        """Return the next message frame."""
        return await self.receive_until(lambda frame: frame["type"] == "message", timeout)

    async def messages(self, count: int, timeout: float = WAIT) -> list[Frame]:
        """Return the next message frames."""
        async with asyncio.timeout(timeout):
            return [await self.message(timeout) for _ in range(count)]

    async def closed(self, timeout: float = WAIT) -> tuple[int, list[Frame]]:
        """Wait for the close; return its code and the frames before it."""
        frames = self.inbox
        self.inbox = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    frames.append(await self._recv())
        except websockets.ConnectionClosed:
            assert self.connection.close_code is not None
            return self.connection.close_code, frames


@asynccontextmanager
async def connect(url: str, codec: str = "json", **options: Any) -> AsyncIterator[SocketClient]:
    """Open a socket, without authenticating."""
    options.setdefault("subprotocols", [SUBPROTOCOLS[codec]])
    async with websockets.connect(url, compression=None, max_size=None, **options) as connection:
        yield SocketClient(connection)


@asynccontextmanager
async def session(
    url: str, token: str, client_id: str = "test", codec: str = "json"
) -> AsyncIterator[SocketClient]:
    """Open a socket and authenticate."""
    async with connect(url, codec) as client:
        answer = await client.authenticate(token, client_id)
        assert answer["type"] == "auth_success", answer
        yield client
