"""One authenticated socket: opened, read, kept alive, until it ends for a reason."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from notifications.client.wire import Received, Wire
from notifications.protocol.codes import CLOSE_REASONS, CloseCode, reconnects
from notifications.protocol.frames import (
    Auth,
    AuthSuccess,
    ClientFrame,
    Disconnect,
    Error,
    Heartbeat,
    Ping,
)

OPEN_TIMEOUT = 10.0
"""Seconds for the upgrade, and again for the answer to `auth`."""

CLOSE_TIMEOUT = 2.0
"""Seconds for the closing handshake; then the socket is dropped."""

NO_STATUS = 1005
"""What a close frame without a code reads as: no reason to stay away."""

_REASONS = {
    CloseCode.NORMAL: "client_initiated",
    CloseCode.HEARTBEAT_MISSED: "timeout",
    CloseCode.AUTHENTICATION_FAILED: "authentication_failed",
    CloseCode.TOKEN_EXPIRED: "authentication_failed",
    CloseCode.DISCONNECTED: "server_initiated",
    CloseCode.TAKEN_OVER: "server_initiated",
}


class ConnectionEnded(Exception):
    """A connection is over, or could not be made.

    code: the close code; 1006 where there is none. reason: in the words of docs/protocol.md.
    reconnect: whether another attempt makes sense. retry_after: milliseconds, if the server said.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = CloseCode.ABNORMAL,
        reason: str = "network_error",
        reconnect: bool = True,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.reconnect = reconnect
        self.retry_after = retry_after


class Connection:
    """A socket whose `auth` was accepted; make it with `Connection.open`."""

    def __init__(self, socket: ClientConnection, wire: Wire) -> None:
        self.unknown_frames = 0
        self._socket = socket
        self._wire = wire
        self._heard = asyncio.Event()  # any frame is a sign of life
        self._is_taking = False
        self._retry_after: int | None = None
        self._last_words = ""

    @classmethod
    async def open(cls, url: str, auth: Auth, wire: Wire) -> tuple["Connection", AuthSuccess]:
        """Connect and authenticate; raises ConnectionEnded."""
        try:
            socket = await connect(
                url,
                subprotocols=[Subprotocol(wire.subprotocol)],
                compression=None,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,  # the protocol has its own heartbeat
            )
        except InvalidStatus as error:
            _refused(error)
        except (OSError, InvalidHandshake) as error:  # TimeoutError is an OSError
            raise ConnectionEnded(f"{url} cannot be reached: {error}") from error
        connection = cls(socket, wire)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await connection.send(auth)
                while not isinstance(frame := await connection._receive(), AuthSuccess):
                    pass  # an `error`, whose close follows
        except TimeoutError:
            connection._drop()
            raise ConnectionEnded("The server did not answer `auth`.", reason="timeout") from None
        except BaseException:
            connection._drop()
            raise
        return connection, frame

    async def run(
        self, take: Callable[[Received], Awaitable[None]], heartbeat: Heartbeat
    ) -> ConnectionEnded:
        """Hand every frame to `take`, one at a time, until the connection ends; return why."""
        reader = asyncio.create_task(self._read(take))
        beat = asyncio.create_task(self._beat(heartbeat))
        try:
            done, _ = await asyncio.wait({reader, beat}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            reader.cancel()
            beat.cancel()
            await asyncio.gather(reader, beat, return_exceptions=True)
            self._drop()

    async def send(self, frame: ClientFrame) -> None:
        """Send a frame; raises ConnectionEnded."""
        try:
            await self._socket.send(self._wire.encode(frame))
        except ConnectionClosed:
            raise self._end() from None

    async def close(self) -> None:
        """Close because the application is done."""
        await self._socket.close(CloseCode.NORMAL)

    def _drop(self) -> None:
        self._socket.transport.abort()

    async def _read(self, take: Callable[[Received], Awaitable[None]]) -> ConnectionEnded:
        try:
            while True:
                frame = await self._receive()
                self._is_taking = True
                await take(frame)
                self._is_taking = False
        except ConnectionEnded as ended:
            return ended

    async def _receive(self) -> Received:
        while True:
            try:
                data = await self._socket.recv(decode=False)
            except ConnectionClosed:
                raise self._end() from None
            self._heard.set()
            try:
                frame = self._wire.decode(data)
            except msgspec.DecodeError:  # a type of a later version, or of a capability not ours
                self.unknown_frames += 1
                continue
            if isinstance(frame, Disconnect):
                self._retry_after, self._last_words = frame.retry_after, frame.reason
            elif isinstance(frame, Error) and frame.id is None:
                self._last_words = frame.message
            return frame

    async def _beat(self, heartbeat: Heartbeat) -> ConnectionEnded:
        interval, timeout = heartbeat.interval / 1000, heartbeat.timeout / 1000
        while True:
            await asyncio.sleep(interval)
            self._heard.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self.send(Ping())
                    await self._heard.wait()
            except ConnectionEnded as ended:
                return ended
            except TimeoutError:
                # While the inbox is full nothing is read, so silence says nothing about the server.
                if not self._is_taking:
                    return ConnectionEnded("The server went silent.", reason="timeout")

    def _end(self) -> ConnectionEnded:
        code = self._socket.close_code or CloseCode.ABNORMAL
        text = self._last_words or self._socket.close_reason or CLOSE_REASONS.get(code, "")
        comes_back = reconnects(code) or code == NO_STATUS
        return ConnectionEnded(
            f"{text or 'The connection ended.'} (close code {code})",
            code=code,
            reason=_REASONS.get(code, "network_error" if comes_back else "protocol_error"),  # type: ignore[call-overload]  # a plain int finds its IntEnum
            reconnect=comes_back,
            retry_after=self._retry_after,
        )


def _refused(error: InvalidStatus) -> NoReturn:
    """Raise what an upgrade answered with an HTTP status means."""
    status = error.response.status_code
    text = error.response.body.decode(errors="replace").strip() if error.response.body else ""
    after = error.response.headers.get("Retry-After", "")
    raise ConnectionEnded(
        f"The server refused the connection with {status}. {text[:200]}".strip(),
        reason="network_error" if status in (429,) or status >= 500 else "protocol_error",
        reconnect=status == 429 or status >= 500,
        retry_after=int(after) * 1000 if after.isascii() and after.isdecimal() else None,
    ) from error
