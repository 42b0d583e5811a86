"""uvicorn's WebSocket protocol with what plain ASGI hides: finished bytes in, life on the wire.

`serve` selects this class by name. It puts itself into the ASGI scope as the extension
`bellwether.transport`; under other servers the extension is absent and the gateway does without.
tests/gateway/test_uvicorn_protocol.py fails when the internals that it leans on move.
"""

from asyncio import BaseTransport
from collections.abc import Callable
from typing import Any

from websockets.frames import Frame
from websockets.http11 import Request

from notifications.gateway.lean_socket import LeanSocketProtocol

_PING = b"\x89\x00"
"""A ping without a payload: RFC 6455, section 5.5.2."""


class SocketProtocol(LeanSocketProtocol):
    """One socket of a server; an implementation of gateway.outbound.Transport."""

    __slots__ = ("_on_blocked", "_on_writable", "last_received", "write")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_received = self.loop.time()
        self._on_writable: Callable[[], None] | None = None
        self._on_blocked: Callable[[], None] | None = None

    # --- What uvicorn calls -------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        """Let finished WebSocket messages go straight to the transport: each call costs."""
        super().connection_made(transport)
        self.write = self.transport.write

    def data_received(self, data: bytes) -> None:
        """Take any inbound bytes as a sign of life, WebSocket-level pongs too."""
        self.last_received = self.loop.time()
        super().data_received(data)

    def send_receive_event_to_app(self) -> None:
        """Hand a message on, and go on reading unless another waits already.

        uvicorn stops reading at each message, which costs two system calls where the application
        takes it at once. So a message more may wait here, and what came with it.
        """
        self.read_paused = reads = self.queue.empty()
        super().send_receive_event_to_app()
        if reads:
            self.read_paused = False

    def handle_connect(self, event: Request) -> None:
        """Offer this object to the application that is about to run."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # absent when the handshake was malformed
            extensions: dict[str, Any] = dict(self.scope["extensions"] or {})
            self.scope["extensions"] = {**extensions, "bellwether.transport": self}  # type: ignore[dict-item]

    def pause_writing(self) -> None:
        """Take nothing more for a peer that does not keep up."""
        super().pause_writing()
        if self._on_blocked is not None:
            self._on_blocked()

    def resume_writing(self) -> None:
        """Go on with what waits: the peer has caught up."""
        super().resume_writing()
        if self._on_writable is not None:
            self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the application."""
        self._end()
        super().connection_lost(exc)

    def handle_close(self, event: Frame) -> None:
        """Write nothing after the answer to the peer's close."""
        self._end()
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """Write nothing after the close that the peer's mistake causes."""
        self._end()
        super().handle_parser_exception()

    def keepalive_timeout(self) -> None:
        """Write nothing after the close of a peer that answers no ping."""
        self._end()
        super().keepalive_timeout()

    def shutdown(self) -> None:
        """Write nothing after the close of a server that stops."""
        self._end()
        super().shutdown()

    def _end(self) -> None:
        if self._on_blocked is not None:
            self._on_blocked()
        self._on_writable = self._on_blocked = None

    # --- What the gateway calls ---------------------------------------------------------------

    def can_write(self) -> bool:
        """Tell whether the peer reads as fast as it is written to, and the socket is open."""
        return self.writable.is_set() and not (
            self.close_sent or self.disconnected or self.transport.is_closing()
        )

    def ping(self) -> None:
        """Ask the peer's library for a sign of life; any inbound bytes are one."""
        if self.can_write():
            self.transport.write(_PING)

    def unsent(self) -> int:
        """Return the bytes that were written and that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    def watch(self, *, writable: Callable[[], None], blocked: Callable[[], None]) -> None:
        """Have it told whenever the peer has caught up, and whenever it cannot be written to."""
        self._on_writable, self._on_blocked = writable, blocked

    def abort(self) -> None:
        """Drop the socket without waiting for the peer."""
        self.transport.abort()
