"""A server that does what a test says: one script per connection, the last one for all others."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Self

import msgpack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.socket_client import SUBPROTOCOLS

NOW = "2030-01-01T00:00:00.000Z"


class Peer:
    """The server's side of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self.is_binary = socket.subprotocol == SUBPROTOCOLS["msgpack"]
        self._said: set[str] = set()
        self._heard = asyncio.Event()

    def say(self, word: str) -> None:
        """Let the script go on that waits for this word."""
        self._said.add(word)
        self._heard.set()

    async def until(self, word: str) -> None:
        """Wait until the test says so."""
        while word not in self._said:
            self._heard.clear()
            await self._heard.wait()

    async def receive(self) -> dict[str, Any]:
        """Read a frame."""
        data = await self.socket.recv()
        assert isinstance(data, bytes) is self.is_binary
        frame: dict[str, Any] = msgpack.unpackb(data) if self.is_binary else json.loads(data)
        return frame

    async def send(self, kind: str, **fields: Any) -> None:
        """Write a frame."""
        await self._write({"type": kind, **fields})

    async def _write(self, frame: dict[str, Any]) -> None:
        await self.socket.send(msgpack.packb(frame) if self.is_binary else json.dumps(frame))

    async def welcome(self, **fields: Any) -> None:
        """Read `auth` and accept it."""
        self.hello = await self.receive()
        await self._write(auth_success() | fields)

    async def message(self, offset: int, *, partition: int = 0, **fields: Any) -> None:
        """Deliver the message at an offset; its payload is the offset."""
        await self._write(message(offset, partition) | fields)

    async def subscribed(self, request: dict[str, Any], subscription_id: str = "sub1") -> None:
        """Grant a `subscribe`."""
        await self.send(
            "subscribed",
            id=request["id"],
            subscriptionId=subscription_id,
            topic=request["topic"],
            createdAt=NOW,
            cursor=cursor(),
        )

    async def published(self, request: dict[str, Any]) -> None:
        """Grant a `publish`."""
        await self.send(
            "published", id=request["id"], messageId="m", topic=request["topic"], timestamp=NOW
        )

    async def until_gone(self) -> None:
        """Answer nothing until the client leaves."""
        async for _ in self.socket:
            pass


Script = Callable[[Peer], Awaitable[None]]


def cursor(epoch: str = "x1", **offsets: int) -> dict[str, Any]:
    """Write a cursor; partitions as p0, p1 and so on."""
    return {"epoch": epoch, "offsets": {name[1:]: offset for name, offset in offsets.items()}}


def auth_success() -> dict[str, Any]:
    """Write the frame that accepts a connection, for a new session at an empty head."""
    return {
        "type": "auth_success",
        "sessionId": "s1",
        "serverId": "fake",
        "capabilities": [],
        "resumed": False,
        "subscriptions": [],
        "cursor": cursor(),
        "heartbeat": {"interval": 30_000, "timeout": 5_000},
        "retry": {
            "maxRetries": 0,
            "initialDelay": 0,
            "maxDelay": 0,
            "backoffMultiplier": 2.0,
            "jitter": False,
            "strategy": "exponential",
        },
        "limits": {
            "frameBytes": 65_536,
            "payloadBytes": 49_152,
            "subscriptions": 100,
            "patterns": 16,
            "framesPerSecond": 20,
            "publishesPerSecond": 50,
            "replayMessages": 10_000,
        },
        "serverTime": NOW,
    }


def message(offset: int, partition: int = 0) -> dict[str, Any]:
    """Write the message at an offset; its payload is the offset."""
    return {
        "type": "message",
        "id": f"m{partition}-{offset}",
        "topic": "a.b",
        "timestamp": NOW,
        "seq": offset,
        "position": [partition, offset],
        "payload": offset,
    }


def held(topic: str, subscription_id: str = "sub1", **options: Any) -> dict[str, Any]:
    """Write a subscription that the server holds."""
    return {
        "subscriptionId": subscription_id,
        "topic": topic,
        "options": options,
        "createdAt": NOW,
    }


class FakeServer:
    """Listens on a free port. refusals: HTTP statuses (and headers) for the first upgrades."""

    def __init__(
        self, *scripts: Script, refusals: tuple[tuple[int, dict[str, str]], ...] = ()
    ) -> None:
        self.peers: list[Peer] = []
        self.changed = asyncio.Event()
        self._scripts = scripts
        self._refusals = list(refusals)
        self._server: Server

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"ws://{host}:{port}/ws"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol(name) for name in SUBPROTOCOLS.values()],
            process_request=self._refuse,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._server.close()
        await self._server.wait_closed()

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._refusals:
            return None
        status, headers = self._refusals.pop(0)
        return Response(status, HTTPStatus(status).phrase, Headers(headers), b"not now")

    async def _serve(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        self.peers.append(peer)
        self.changed.set()
        self.changed.clear()
        script = self._scripts[min(len(self.peers), len(self._scripts)) - 1]
        try:
            await script(peer)
        except ConnectionClosed:
            pass
