"""From a connection's buffer to its socket, in two ways with one behaviour.

Direct: the server's protocol class takes finished bytes (see uvicorn_protocol.py). While the peer
keeps up, a message goes straight to it; what had to wait is written in one go.
ASGI: any other server; a task per connection sends message by message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from notifications.conf import conf
from notifications.hub.buffer import Buffer
from notifications.hub.encoded import event_of
from notifications.hub.flusher import Flusher
from notifications.protocol.codes import CloseCode, reconnects

WRITE_BYTES = 262_144
"""Bytes that one write hands to the transport at most, so that its own buffer stays small."""

DROPPED = "the peer does not read"
"""What the task that serves a socket is cancelled with, where nothing else ends it."""

SendToPeer = Callable[[dict[str, Any]], Awaitable[None]]


class Transport(Protocol):
    """What the server's protocol class offers in the ASGI scope."""

    last_received: float

    def can_write(self) -> bool:
        """Tell whether the peer reads as fast as it is written to, and the socket is open."""

    def write(self, data: bytes) -> None:
        """Write finished WebSocket messages."""

    def ping(self) -> None:
        """Ask the peer's library for a sign of life."""

    def unsent(self) -> int:
        """Return the bytes that were written and that the peer's kernel has not confirmed."""

    def watch(self, *, writable: Callable[[], None], blocked: Callable[[], None]) -> None:
        """Have it told whenever the peer has caught up, and whenever it cannot be written to."""

    def abort(self) -> None:
        """Drop the socket."""


class DirectOutbound:
    """Writes finished bytes to the transport."""

    __slots__ = ("_flusher", "_is_planned", "_stopped", "_stuck_at", "_transport", "buffer", "tick")

    buffer: Buffer

    def __init__(self, transport: Transport, flusher: Flusher) -> None:
        self._transport = transport
        self._flusher = flusher
        self._stopped = False
        self._is_planned = False
        self._stuck_at: tuple[int, float] | None = None
        self.tick = 0

    def start(self, buffer: Buffer) -> None:
        """Write what comes into a buffer from now on."""
        self.buffer = buffer
        self._transport.watch(writable=self.flush, blocked=self._block)
        self._open()

    def wake(self, within: float) -> None:
        """Something is to be written within so many seconds."""
        if self._is_planned or self._stopped:
            return
        if within:
            self._flusher.plan(self, within=within)
        elif self._transport.can_write():  # else it is flushed when the peer has caught up
            self._is_planned = True
            self._flusher.add(self)

    def flush(self) -> None:
        """Write what waits, as far as the peer reads."""
        self._is_planned = False
        self._flusher.unplan(self)
        transport, buffer = self._transport, self.buffer
        while buffer.size and not self._stopped and transport.can_write():
            taken = buffer.take(WRITE_BYTES)
            if taken:  # nothing is left when all that waited has expired
                transport.write(taken[0] if len(taken) == 1 else b"".join(taken))
        self._open()

    def _open(self) -> None:
        """Let what comes go straight to the peer, if nothing is before it."""
        if not self.buffer.size and not self._stopped and self._transport.can_write():
            self.buffer.direct = self._transport.write

    def _block(self) -> None:
        self.buffer.direct = None

    def is_stuck(self, now: float) -> bool:
        """Tell whether the peer has taken nothing for the write timeout; asked every few seconds.

        What it reads is seen only when its kernel says so, which some do by half of their receive
        buffer. now: the event loop's clock.
        """
        if self.buffer.direct is not None:
            self._stuck_at = None  # it keeps up
            return False
        unsent = 0 if self._transport.can_write() else self._transport.unsent()
        if not unsent:
            self._stuck_at = None
        elif self._stuck_at is None or self._stuck_at[0] != unsent:
            self._stuck_at = unsent, now
        return self._stuck_at is not None and now - self._stuck_at[1] > conf().write_timeout

    async def stop(self) -> None:
        """Write nothing any more; what waits stays in the buffer.

        Whoever empties it then may wait for the peer between two frames, and must not be overtaken.
        """
        self._stopped = True
        self._flusher.unplan(self)
        self.buffer.direct = None

    def drop(self) -> None:
        """Break the connection off: the peer does not take its close."""
        self._transport.abort()

    def is_ending(self) -> None:
        """Take note that the task that serves the socket lets go of everything by itself."""

    @staticmethod
    def close_code(code: int) -> int:
        """Return the code to close with: any."""
        return code


class AsgiOutbound:
    """Sends frames through ASGI, whatever the server; made by the task that serves the socket.

    any_code: whether the server can close with any code.
    """

    buffer: Buffer

    def __init__(
        self,
        send: SendToPeer,
        flusher: Flusher,
        loop: asyncio.AbstractEventLoop,
        *,
        any_code: bool = True,
    ) -> None:
        self._any_code = any_code
        self._send = send
        self._flusher = flusher
        self._loop = loop
        self._woken = asyncio.Event()
        self._sending_since: float | None = None
        self._served = asyncio.current_task(loop)
        self._task: asyncio.Task[None] | None = None
        self.tick = 0

    def start(self, buffer: Buffer) -> None:
        """Send what comes into a buffer from now on."""
        self.buffer = buffer
        self._task = self._loop.create_task(self._send_for_ever())

    def wake(self, within: float) -> None:
        """Something is to be sent within so many seconds."""
        if within:
            self._flusher.plan(self, within=within)
        else:
            self._woken.set()

    def flush(self) -> None:
        """Send what waits."""
        self._woken.set()

    def is_stuck(self, now: float) -> bool:
        """Tell whether the peer has read nothing for the write timeout, as far as is known."""
        since = self._sending_since
        return since is not None and now - since > conf().write_timeout

    async def stop(self) -> None:
        """Send nothing any more; what waits stays in the buffer."""
        self._flusher.unplan(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def drop(self) -> None:
        """Let go of a peer that does not take its close. Its socket is the server's to drop."""
        if self._served is not None:
            self._served.cancel(DROPPED)

    def is_ending(self) -> None:
        """Take note that the task that serves the socket lets go of everything by itself."""
        self._served = None

    def close_code(self, code: int) -> int:
        """Return a code that the server can send, with the same duty for the client.

        Daphne's WebSocket library sends 1000 and 3000 to 4999 only, and hangs on others.
        """
        if self._any_code or code == CloseCode.NORMAL or code >= 3000:
            return code
        return CloseCode.LOST_PLACE if reconnects(code) else CloseCode.PROTOCOL_ERROR

    async def _send_for_ever(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            self._flusher.unplan(self)
            while frames := self.buffer.peek():
                self._sending_since = self._loop.time()
                await self._send(event_of(frames))
                self._sending_since = None
                # Only now: a frame whose sending was stopped is still the first to send.
                self.buffer.sent(frames)


Outbound = DirectOutbound | AsgiOutbound


def outbound_of(
    transport: Transport | None, scope: dict[str, Any], send: SendToPeer, flusher: Flusher
) -> Outbound:
    """Return the way to a socket: the direct one where its server offers a transport."""
    if transport is not None:
        return DirectOutbound(transport, flusher)
    # Daphne sends few close codes. It is known by what else it does not offer.
    any_code = "websocket.http.response" in scope.get("extensions", {})
    return AsgiOutbound(send, flusher, asyncio.get_running_loop(), any_code=any_code)
