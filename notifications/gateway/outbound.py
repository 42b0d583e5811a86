"""From a connection's buffer to its socket, in two ways with one behaviour.

Direct: the server's protocol class takes finished bytes (see uvicorn_protocol.py). What all
connections got in one turn of the event loop is written in the next, one write per connection.
ASGI: any other server; a task per connection sends frame by frame.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from notifications.hub.buffer import Buffer, Flusher
from notifications.protocol.codes import CloseCode, reconnects

WRITE_BYTES = 262_144
"""Bytes that one write hands to the transport at most, so that its own buffer stays small."""

SendToPeer = Callable[[dict[str, Any]], Awaitable[None]]


class Transport(Protocol):
    """What the server's protocol class offers in the ASGI scope."""

    last_received: float

    def can_write(self) -> bool:
        """Tell whether the peer reads as fast as it is written to, and the socket is open."""

    def write(self, data: bytes) -> None:
        """Write finished WebSocket messages."""

    def when_writable(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever the peer has caught up."""

    def abort(self) -> None:
        """Drop the socket."""


class DirectOutbound:
    """Writes finished bytes to the transport."""

    def __init__(self, transport: Transport, flusher: Flusher) -> None:
        self._transport = transport
        self._flusher = flusher
        self._stopped = False
        self.buffer: Buffer
        transport.when_writable(self.flush)

    def wake(self) -> None:
        """The buffer has stopped being empty."""
        self._flusher.add(self.flush)

    def flush(self) -> None:
        """Write what waits, as far as the peer reads."""
        transport, buffer = self._transport, self.buffer
        while buffer.size and not self._stopped and transport.can_write():
            taken = buffer.take(WRITE_BYTES)
            if taken:  # nothing is left when all that waited has expired
                transport.write(taken[0] if len(taken) == 1 else b"".join(taken))

    async def stop(self) -> None:
        """Write nothing any more; what waits stays in the buffer.

        Whoever empties it then may wait for the peer between two frames, and must not be overtaken.
        """
        self._stopped = True

    @staticmethod
    def close_code(code: int) -> int:
        """Return the code to close with: any."""
        return code


class AsgiOutbound:
    """Sends frames through ASGI, whatever the server."""

    def __init__(self, send: SendToPeer, loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._woken = asyncio.Event()
        self.buffer: Buffer
        self._task = loop.create_task(self._send_for_ever())

    def wake(self) -> None:
        """The buffer has stopped being empty."""
        self._woken.set()

    async def stop(self) -> None:
        """Send nothing any more; what waits stays in the buffer."""
        self._task.cancel()
        await asyncio.wait([self._task])

    @staticmethod
    def close_code(code: int) -> int:
        """Return a code that every server can send, with the same duty for the client.

        Daphne's WebSocket library sends 1000 and 3000 to 4999 only, and hangs on others.
        """
        if code == CloseCode.NORMAL or code >= 3000:
            return code
        return CloseCode.LOST_PLACE if reconnects(code) else CloseCode.PROTOCOL_ERROR

    async def _send_for_ever(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (frame := self.buffer.peek()) is not None:
                await self._send(frame.event)
                # Only now: a frame whose sending was stopped is still the first to send.
                if self.buffer.peek() is frame:
                    self.buffer.pop()


Outbound = DirectOutbound | AsgiOutbound
