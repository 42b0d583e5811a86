"""One socket, from its opening to its end. It outlives nothing and retries nothing."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bellwether_client.codec import Codec
from bellwether_client.codes import CloseCode
from bellwether_client.decode import Unknown, frames_of
from bellwether_client.down import Down, closed, failed, refused, unauthenticated
from bellwether_client.errors import NotificationError
from bellwether_client.fields import Unreadable
from bellwether_client.frames import AuthSuccess, Disconnect, ErrorFrame, ServerFrame
from bellwether_client.heartbeat import Heartbeat
from bellwether_client.surroundings import Surroundings
from bellwether_client.tasks import Tasks, is_cancelled
from bellwether_client.transport import Refused, Socket, SocketClosed, Unreachable, Unusable

logger = logging.getLogger("bellwether_client")

OPEN_TIMEOUT = 15_000.0
"""Milliseconds for token, handshake and auth together. The server gives auth alone 5 s."""

CLOSE_TIMEOUT = 2.0
"""Seconds that a graceful close waits for the server's answer."""

SEND_BOUND = 10_000
"""Frames that wait to be sent; over it the server is not reading, and the connection ends."""

BREATH = 32
"""Socket messages after which others get the event loop, however many are there."""


class Told(Protocol):
    """Who hears of a connection."""

    def opening(self) -> None:
        """There is a token; the socket is opened now."""

    def accepted(self, frame: AuthSuccess, latency: float) -> None:
        """The first event of a connection that lives. latency: milliseconds of auth."""

    def frame(self, frame: ServerFrame) -> None:
        """A frame after that."""

    def unreadable(self, detail: str) -> None:
        """A frame that breaks the protocol."""

    def unknown(self, kind: str) -> None:
        """A frame of a type that this client does not know."""

    def down(self, down: Down) -> None:
        """The last event, exactly once, unless `close` or `drop` came first."""


class Connection:
    """heartbeat_interval, heartbeat_timeout: the application's wishes, in milliseconds."""

    def __init__(
        self,
        told: Told,
        *,
        surroundings: Surroundings,
        tasks: Tasks,
        codec: Codec,
        heartbeat_interval: float | None,
        heartbeat_timeout: float | None,
        debug: Callable[..., None] | None,
    ) -> None:
        self._told = told
        self._surroundings = surroundings
        self._tasks = tasks
        self._codec = codec
        self._interval = heartbeat_interval
        self._timeout = heartbeat_timeout
        self._debug = debug
        self._has_ended = False
        self._socket: Socket | None = None
        self._heartbeat: Heartbeat | None = None
        self._opening: asyncio.TimerHandle | None = None
        self._sent_at = 0.0
        self._refusal: NotificationError | None = None
        self._farewell: Disconnect | None = None
        self._outgoing: deque[str | bytes] = deque()
        self._has_outgoing = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    def start(self, url: str, hello: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Connect. hello: makes the first frame; called first, as the server's clock runs then."""
        self._opening = self._surroundings.after(OPEN_TIMEOUT, self._opened_too_late)
        self._runner = self._tasks.start(self._run(url, hello), "connection")

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame after those before it."""
        data = self._codec.encode(frame)
        if self._debug is not None:
            self._debug("sends %s %s, %d", frame["type"], frame.get("id", ""), len(data))
        self.send_encoded(data)

    def send_encoded(self, data: str | bytes) -> None:
        """Send what the codec made."""
        if self._has_ended:
            return
        if len(self._outgoing) >= SEND_BOUND:
            self._end(failed("timeout", "The server does not read what is sent.", retry=True))
            return
        self._outgoing.append(data)
        self._has_outgoing.set()

    def probe(self) -> None:
        """Ask for a sign of life now."""
        if self._heartbeat is not None:
            self._heartbeat.probe()

    async def close(self) -> None:
        """Say goodbye, after what is to be sent; no event follows."""
        self._stop()
        socket = self._socket
        try:
            if socket is not None:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    while self._outgoing:
                        await socket.send(self._outgoing.popleft())
                    await socket.close(CloseCode.NORMAL)
        except (TimeoutError, SocketClosed):
            pass
        finally:
            self._release()

    def drop(self) -> None:
        """End it at once; no event follows."""
        self._stop()
        self._release()

    # --- Its life -------------------------------------------------------------------------------

    async def _run(self, url: str, hello: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        try:
            await self._live(url, hello)
        except Exception as error:
            # A mistake of this client; the next connection would meet it again.
            logger.exception("the client failed")
            self._end(failed("protocol_error", f"The client failed: {error!r}", retry=False))

    async def _live(self, url: str, hello: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        try:
            first = await hello()
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            self._end(unauthenticated(error))
            return
        except Exception as error:
            self._end(unauthenticated(error))
            return
        if self._is_over():
            return
        self._told.opening()
        try:
            self._socket = socket = await self._surroundings.transport.open(
                url, self._codec.subprotocol
            )
        except Refused as error:
            self._end(refused(error))
        except Unreachable as error:
            self._end(failed("network_error", str(error), retry=True))
        except Unusable as error:
            self._end(failed("protocol_error", str(error), retry=False))
        else:
            if self._is_over():
                socket.abort()
                return
            self._sent_at = self._surroundings.elapsed()
            self._writer = self._tasks.start(self._write(socket), "writer")
            self.send(first)
            await self._read(socket)

    async def _read(self, socket: Socket) -> None:
        count = 0
        while True:
            try:
                data = await socket.receive()
            except SocketClosed as end:
                self._end(closed(end.code, self._farewell, self._refusal))
                return
            if not self._has_ended:
                self._receive(data)
            count += 1
            if count % BREATH == 0:
                await asyncio.sleep(0)

    async def _write(self, socket: Socket) -> None:
        try:
            while not self._has_ended:
                self._has_outgoing.clear()
                while self._outgoing and not self._has_ended:
                    await socket.send(self._outgoing.popleft())
                await self._has_outgoing.wait()
        except SocketClosed:
            pass  # the reader tells why

    def _receive(self, data: str | bytes) -> None:
        if self._heartbeat is not None:
            self._heartbeat.alive()
        try:
            value = self._codec.decode(data)
        except ValueError as error:
            self._told.unreadable(str(error))
            return
        if self._debug is not None:
            self._debug("receives %s, %d", _kinds_of(value), len(data))
        for frame in frames_of(value):
            if self._has_ended:
                return  # the rest of a batch in which we ended
            if isinstance(frame, Unknown):
                self._told.unknown(str(frame))
            elif isinstance(frame, Unreadable):
                self._told.unreadable(str(frame))
            else:
                self._take(frame)

    def _take(self, frame: ServerFrame) -> None:
        if isinstance(frame, AuthSuccess):
            self._accept(frame)
        elif isinstance(frame, Disconnect):
            self._farewell = frame
        elif self._heartbeat is not None:
            self._told.frame(frame)
        elif isinstance(frame, ErrorFrame):
            self._refusal = frame.error

    def _accept(self, frame: AuthSuccess) -> None:
        if self._heartbeat is not None:
            return
        if self._opening is not None:
            self._opening.cancel()
        # Not longer than the server's: it closes who is silent for two of its intervals.
        interval = frame.interval if self._interval is None else min(self._interval, frame.interval)
        self._heartbeat = Heartbeat(
            self._surroundings,
            interval=interval,
            timeout=frame.timeout if self._timeout is None else self._timeout,
            ping=lambda t: self.send({"type": "ping", "t": t}),
            dead=lambda: self._end(failed("timeout", "The server stopped answering.", retry=True)),
        )
        self._heartbeat.start()
        self._told.accepted(frame, self._surroundings.elapsed() - self._sent_at)

    # --- Its end --------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._has_ended

    def _opened_too_late(self) -> None:
        self._end(failed("timeout", "The server did not answer in time.", retry=True))

    def _end(self, down: Down) -> None:
        if self._has_ended:
            return
        self._stop()
        self._release()
        self._told.down(down)

    def _stop(self) -> None:
        """Stop timing and listening."""
        self._has_ended = True
        if self._opening is not None:
            self._opening.cancel()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._has_outgoing.set()

    def _release(self) -> None:
        """Let go of the socket and the tasks; the one that calls this ends by itself."""
        if self._socket is not None:
            self._socket.abort()
        mine = asyncio.current_task()
        for task in (self._runner, self._writer):
            if task is not None and task is not mine:
                task.cancel()


def _kinds_of(value: object) -> str:
    """Name the types of what came, and no more of it."""
    frames = value if isinstance(value, list) else [value]
    names = [f"{one.get('type')} {one.get('id', '')}" for one in frames if isinstance(one, dict)]
    return ", ".join(name.strip() for name in names)
