"""uvicorn's WebSocket protocol with what plain ASGI hides: finished bytes in, life on the wire.

`serve` selects this class by name. It puts itself into the ASGI scope as the extension
`bellwether.transport`; under other servers the extension is absent and the gateway does without.
tests/gateway/test_uvicorn_protocol.py fails when the internals that it leans on move.
"""

import random
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket of a server; an implementation of gateway.outbound.Transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_received = self.loop.time()
        self._on_writable: Callable[[], None] | None = None

    # --- What uvicorn calls -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take any inbound bytes as a sign of life, WebSocket-level pongs too."""
        self.last_received = self.loop.time()
        super().data_received(data)

    def handle_connect(self, event: Request) -> None:
        """Offer this object to the application that is about to run."""
        super().handle_connect(event)
        if hasattr(self, "scope"):  # absent when the handshake was malformed
            extensions: dict[str, Any] = dict(self.scope["extensions"] or {})
            self.scope["extensions"] = {**extensions, "bellwether.transport": self}  # type: ignore[dict-item]

    def start_keepalive(self) -> None:
        """Begin the pings at a random phase, so that those of many clients spread out."""
        if self.ping_interval:
            self.ping_timer = self.loop.call_later(
                random.uniform(0, self.ping_interval),  # noqa: S311
                self.send_keepalive_ping,
            )

    def resume_writing(self) -> None:
        """Go on with what waits: the peer has caught up."""
        super().resume_writing()
        if self._on_writable is not None:
            self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the application."""
        self._on_writable = None
        super().connection_lost(exc)

    # --- What the gateway calls ---------------------------------------------------------------

    def can_write(self) -> bool:
        """Tell whether the peer reads as fast as it is written to, and the socket is open."""
        return self.writable.is_set() and not (
            self.close_sent or self.disconnected or self.transport.is_closing()
        )

    def write(self, data: bytes) -> None:
        """Write finished WebSocket messages, between those that uvicorn writes itself."""
        self.transport.write(data)

    def when_writable(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever the peer has caught up."""
        self._on_writable = call

    def abort(self) -> None:
        """Drop the socket without waiting for the peer."""
        self.transport.abort()
