"""uvicorn's WebSocket protocol with what plain ASGI hides: finished bytes in, life on the wire.

`serve` selects this class by name. It puts itself into the ASGI scope as the extension
`bellwether.transport`; under other servers the extension is absent and the gateway does without.
tests/gateway/test_uvicorn_protocol.py fails when the internals that it leans on move.
"""

import sys
from asyncio import BaseTransport, WriteTransport
from collections.abc import Callable
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from websockets.frames import Frame
from websockets.http11 import Request

from notifications.gateway.lean_socket import LeanSocketProtocol

_PING = b"\x89\x00"
"""A ping without a payload: RFC 6455, section 5.5.2."""

FRAGMENTS = 64
"""Fragments of a message that are kept apart: empty ones cost a peer next to nothing."""

SLICE = 8_192
"""Bytes that are parsed at a time. One read brings up to 250,000, which can be 40,000 frames."""

BURST = 64
"""Frames in a slice after which the rest of a read waits for the event loop's next turn."""

LINGER = 5.0
"""Seconds in which a peer reads what is left of a socket that is closed; then it is dropped."""


def _unconfirmed(transport: WriteTransport) -> int:
    """Return the bytes that this kernel holds for a peer; 0 where it does not tell.

    It takes nothing more until a third of its buffer is free, which may be a megabyte: for whoever
    reads a little at a time, that is minutes in which the transport's own buffer stays as it is.
    """
    try:
        held = ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
    except (OSError, AttributeError):
        return 0
    return int.from_bytes(held, sys.byteorder)


class SocketProtocol(LeanSocketProtocol):
    """One socket of a server; an implementation of gateway.outbound.Transport."""

    __slots__ = (
        "_burst",
        "_goes_on",
        "_on_blocked",
        "_on_writable",
        "_rest",
        "last_received",
        "write",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_received = self.loop.time()
        self._rest = b""
        self._burst = 0
        self._goes_on = False
        self._on_writable: Callable[[], None] | None = None
        self._on_blocked: Callable[[], None] | None = None

    # --- What uvicorn calls -------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        """Let finished WebSocket messages go straight to the transport: each call costs."""
        super().connection_made(transport)
        self.write = self.transport.write

    def data_received(self, data: bytes) -> None:
        """Take any inbound bytes as a sign of life, WebSocket-level pongs too.

        Parsing costs more by the frame than by the byte. So what is large is cut, and what is of
        many frames is taken in turns with other sockets, and with the application's taking them.
        """
        self.last_received = self.loop.time()
        if not self._rest and len(data) <= SLICE:
            super().data_received(data)
            return
        self._rest += data
        if self.close_sent or not self._goes_on:
            self._take_slices()

    def _take_slices(self) -> None:
        self._goes_on = False
        while self._rest:
            part, self._rest = self._rest[:SLICE], self._rest[SLICE:]
            super().data_received(part)
            if self.transport.is_closing():
                self._rest = b""
            elif self._burst > BURST and self._rest:
                self.read_paused = self._goes_on = True
                self.transport.pause_reading()
                if self.close_sent or self.queue.empty():
                    self.loop.call_soon(self._take_slices)  # else when all is taken: `receive`
                return
        if self.read_paused and self.queue.empty() and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def handle_events(self) -> None:
        """Note how many frames came at once."""
        self._burst = len(self.conn.events)
        super().handle_events()

    async def receive(self) -> Any:
        """Give an event to the application; read on when it has them all."""
        event = await self.queue.get()
        if self._goes_on and self.queue.empty():
            self.loop.call_soon(self._take_slices)
        elif self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()
        return event

    def send_receive_event_to_app(self) -> None:
        """Hand a message on, and go on reading unless another waits already.

        uvicorn stops reading at each message, which costs two system calls where the application
        takes it at once. So a message more may wait here, and what came with it. And it logs text
        that is no UTF-8 with a traceback, which is for the server's mistakes and not for a peer's.
        """
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        event: Any = {"type": "websocket.receive", "bytes": data}
        if self.curr_msg_data_type == "text":
            try:
                event = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self.conn.fail(1007)
                self.handle_parser_exception()
                return
        another_waits = not self.queue.empty()
        self.queue.put_nowait(event)
        if another_waits and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; of many, few objects are kept, for empty ones have no end."""
        if len(self.frames) >= FRAGMENTS:
            self.frames = [b"".join(self.frames)]
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer pings, but not those of a peer that does not read the answers."""
        answers = self.conn.data_to_send()
        if answers and self.can_write():
            self.transport.write(b"".join(answers))

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
        self._rest = b""
        super().connection_lost(exc)

    def handle_close(self, event: Frame) -> None:
        """Write nothing after the answer to the peer's close."""
        self._end()
        super().handle_close(event)
        self._linger()

    def handle_parser_exception(self) -> None:
        """Write nothing after the close that the peer's mistake causes."""
        self._end()
        super().handle_parser_exception()
        self._linger()

    def keepalive_timeout(self) -> None:
        """Write nothing after the close of a peer that answers no ping."""
        self._end()
        super().keepalive_timeout()
        self._linger()

    def shutdown(self) -> None:
        """Write nothing after the close of a server that stops."""
        self._end()
        super().shutdown()
        self._linger()

    def _end(self) -> None:
        if self._on_blocked is not None:
            self._on_blocked()
        self._on_writable = self._on_blocked = None

    def _linger(self) -> None:
        # A closed transport first writes what it has, and a peer that does not read could hold it,
        # and the descriptor, for ever.
        if self.transport.get_write_buffer_size():
            self.loop.call_later(LINGER, self.transport.abort)

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
        """Return the bytes that were written and that the peer's kernel has not confirmed."""
        return self.transport.get_write_buffer_size() + _unconfirmed(self.transport)

    def watch(self, *, writable: Callable[[], None], blocked: Callable[[], None]) -> None:
        """Have it told whenever the peer has caught up, and whenever it cannot be written to."""
        self._on_writable, self._on_blocked = writable, blocked

    def abort(self) -> None:
        """Drop the socket without waiting for the peer."""
        self.transport.abort()
