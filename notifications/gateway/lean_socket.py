"""What uvicorn keeps of each WebSocket, cut down to what an open socket needs.

A server holds thousands of sockets that say little, so their memory is what bounds it. uvicorn's
protocol keeps some 40 attributes in a dictionary, two asyncio primitives with five deques, the
request and response of the handshake, and what parsed them. tests/gateway/test_lean_socket.py
fails when the internals that this leans on move.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol


class Mailbox:
    """The events of one socket for the one task that takes them; an asyncio.Queue in small.

    Bound: the transport stops reading while a message waits here, so there are a few.
    """

    __slots__ = ("_events", "_waiting")

    def __init__(self) -> None:
        self._events: list[Any] = []
        self._waiting: asyncio.Future[None] | None = None

    def put_nowait(self, event: Any) -> None:
        """Add an event."""
        self._events.append(event)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def empty(self) -> bool:
        """Tell whether no event waits."""
        return not self._events

    async def get(self) -> Any:
        """Wait for an event and take it."""
        while not self._events:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._events.pop(0)


class Gate:
    """Whether the peer can be written to, and who waits for that; an asyncio.Event in small."""

    __slots__ = ("_is_open", "_waiting")

    def __init__(self) -> None:
        self._is_open = True
        self._waiting: list[asyncio.Future[None]] | None = None

    def is_set(self) -> bool:
        """Tell whether it is open."""
        return self._is_open

    def set(self) -> None:
        """Open it."""
        self._is_open = True
        waiting, self._waiting = self._waiting, None
        for future in waiting or ():
            if not future.done():
                future.set_result(None)

    def clear(self) -> None:
        """Close it."""
        self._is_open = False

    async def wait(self) -> None:
        """Wait until it is open."""
        while not self._is_open:
            if self._waiting is None:
                self._waiting = []
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


class LeanSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with its attributes in slots, and without what it was made of."""

    __slots__ = (
        "app",
        "app_state",
        "asgi_version",
        "client",
        "close_sent",
        "close_timeout",
        "close_timer",
        "config",
        "conn",
        "connections",
        "curr_msg_data_type",
        "default_headers",
        "disconnected",
        "frames",
        "handshake_complete",
        "handshake_initiated",
        "initial_response",
        "last_ping_rtt",
        "logger",
        "loop",
        "pending_ping_payload",
        "ping_interval",
        "ping_sent_at",
        "ping_timeout",
        "ping_timer",
        "pong_timer",
        "queue",
        "read_paused",
        "request",
        "response",
        "root_path",
        "scheme",
        "scope",
        "server",
        "tasks",
        "transport",
        "writable",
    )

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # uvicorn's own, but for queue and writable, and for extensions: `serve` asks for none.
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or asyncio.get_event_loop()
        self.logger = logging.getLogger("uvicorn.error")
        self.root_path = config.root_path
        self.asgi_version = config.asgi_version
        self.app_state = app_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.default_headers = server_state.default_headers
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.server = None
        self.client = None
        self.scheme: Any = None
        self.queue: Any = Mailbox()
        self.handshake_initiated = False
        self.handshake_complete = False
        self.close_sent = False
        self.disconnected = False
        self.close_timer = None
        self.close_timeout = 10.0
        self.initial_response = None
        self.conn = ServerProtocol(max_size=config.ws_max_size, logger=self.logger)
        self.read_paused = False
        self.writable: Any = Gate()
        self.ping_interval = config.ws_ping_interval
        self.ping_timeout = config.ws_ping_timeout
        self.ping_timer = None
        self.pong_timer = None
        self.pending_ping_payload = None
        self.ping_sent_at = 0.0
        self.last_ping_rtt = 0.0
        self.frames = []
        self.curr_msg_data_type = "bytes"

    def start_keepalive(self) -> None:
        """Let go of the handshake: it is over when uvicorn calls this."""
        # The parser and the tasks that wait for the socket still refer to these: so they are
        # emptied, and not only dropped.
        self.request.headers.clear()
        self.scope.clear()  # type: ignore[attr-defined]  # a TypedDict, which has it at run time
        del self.request, self.response

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Let go of the scope, which refers to this object, of a socket that was never opened."""
        super().on_task_complete(task)
        self.scope.clear()  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the parser, which refers to itself: else memory waits for the collector."""
        super().connection_lost(exc)
        self.conn.parser.close()


class UpgradingHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which is gone when it has handed its socket over."""

    def handle_websocket_upgrade(self) -> None:
        """Hand over, and let go of the parser, which refers to this object as it does to it."""
        super().handle_websocket_upgrade()
        self.__dict__.clear()
