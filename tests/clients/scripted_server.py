"""A server that does step by step what a scenario says, and keeps every frame that comes."""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.clients.normal import Frame, Normal
from tests.clients.server_frames import complete

WAIT = 20.0
_ACCEPTED = None


class ScriptedServer:
    """Listens on a free port; each upgrade waits for `accept` or `refuse`.

    `frames` has the client's frames, as they stand in a trace, and `{"type": "closed"}` with the
    code where the client ended a connection; its bound is the length of a scenario.
    """

    def __init__(self, normal: Normal) -> None:
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self._normal = normal
        self._decisions: asyncio.Queue[Response | None] = asyncio.Queue()
        self._opened: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self._socket: ServerConnection | None = None
        self._ended_here: set[ServerConnection] = set()
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
            subprotocols=[Subprotocol("notifications.v1.json")],
            process_request=self._decide,
            open_timeout=None,
            ping_interval=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        self._drop_all()
        self._server.close()
        await self._server.wait_closed()

    # --- Steps --------------------------------------------------------------------------------

    async def accept(self) -> None:
        """Let the next upgrade through."""
        self._decisions.put_nowait(_ACCEPTED)
        async with asyncio.timeout(WAIT):
            self._socket = await self._opened.get()

    def refuse(self, status: int, headers: dict[str, str]) -> None:
        """Refuse the next upgrade."""
        phrase = HTTPStatus(status).phrase
        self._decisions.put_nowait(Response(status, phrase, Headers(headers), b"not now"))

    async def send(self, frame: Frame | list[Frame]) -> None:
        """Send a frame, or several as one array, completed by what the scenario leaves out."""
        frames = frame if isinstance(frame, list) else [frame]
        whole = [complete(self._normal.actual(one)) for one in frames]
        await self.text(json.dumps(whole if isinstance(frame, list) else whole[0]))

    async def text(self, data: str | bytes) -> None:
        """Send text (or bytes: a binary message) as it is."""
        await self._now.send(data)

    async def close(self, code: int) -> None:
        """Close the connection as a server does."""
        socket = self._now
        self._ended_here.add(socket)
        await socket.close(code)

    def drop(self) -> None:
        """Let the TCP connection go without a word."""
        self._ended_here.add(self._now)
        self._now.transport.abort()

    async def settle(self) -> None:
        """Wait until the client has read all that was sent, where it still listens."""
        if self._socket is None:
            return
        try:
            async with asyncio.timeout(WAIT):
                await (await self._socket.ping())
        except (ConnectionClosed, TimeoutError):
            pass

    # --- Connections --------------------------------------------------------------------------

    @property
    def _now(self) -> ServerConnection:
        assert self._socket is not None, "the scenario accepted no connection"
        return self._socket

    def _drop_all(self) -> None:
        for socket in self._server.connections:
            socket.transport.abort()
        # What still waits for a decision.
        for _ in range(100):
            self._decisions.put_nowait(Response(503, "Service Unavailable", Headers()))

    async def _decide(self, _: ServerConnection, __: Request) -> Response | None:
        return await self._decisions.get()

    async def _serve(self, socket: ServerConnection) -> None:
        self._normal.connected()
        self._opened.put_nowait(socket)
        try:
            async for data in socket:
                received = json.loads(data)
                for frame in received if isinstance(received, list) else [received]:
                    self.frames.put_nowait(self._normal.frame(frame))
        except ConnectionClosed:
            pass
        if socket not in self._ended_here:
            self.frames.put_nowait(_closed(socket))


def _closed(socket: ServerConnection) -> Frame:
    """Tell a goodbye from a connection that was given up: platforms give that up differently."""
    return {"type": "closed"} | ({"code": 1000} if socket.close_code == 1000 else {})


def headers_of(step: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a refusal."""
    return {name: str(value) for name, value in step.get("headers", {}).items()}
