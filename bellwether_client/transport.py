"""The seam to the network: a socket, and what opens one. Tests put another behind it."""

from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.typing import Subprotocol

from bellwether_client.codes import CloseCode

MAX_MESSAGE = 16 * 1_048_576
"""Bytes of one WebSocket message: a batch is at most 100 frames of 64 KiB."""


class SocketClosed(Exception):
    """The socket is closed. code: 1006 where no close frame came."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Refused(Exception):
    """The upgrade was answered with an HTTP status. retry_after: milliseconds, or None."""

    def __init__(self, status: int, text: str, retry_after: float | None) -> None:
        super().__init__(f"The server refused the connection with {status}. {text}".strip())
        self.status = status
        self.retry_after = retry_after


class Unreachable(Exception):
    """No connection could be made."""


class Unusable(Exception):
    """The same again would fail again: the URL is wrong."""


class Socket(Protocol):
    """An open WebSocket."""

    async def send(self, data: str | bytes) -> None:
        """Send a message; raises SocketClosed."""

    async def receive(self) -> str | bytes:
        """Return the next message; raises SocketClosed."""

    async def close(self, code: int) -> None:
        """Close it with a handshake."""

    def abort(self) -> None:
        """Drop it at once; harmless on one that is closed."""


class Transport(Protocol):
    """Opens sockets."""

    async def open(self, url: str, subprotocol: str) -> Socket:
        """Open one; raises Refused, Unreachable, Unusable."""


class _WebSocket:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, data: str | bytes) -> None:
        try:
            await self._connection.send(data)
        except ConnectionClosed:
            raise self._closed() from None

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            raise self._closed() from None

    async def close(self, code: int) -> None:
        await self._connection.close(code)

    def abort(self) -> None:
        self._connection.transport.abort()

    def _closed(self) -> SocketClosed:
        return SocketClosed(self._connection.close_code or CloseCode.ABNORMAL)


class WebSockets:
    """Real sockets, by the `websockets` library. The protocol has its own heartbeat."""

    async def open(self, url: str, subprotocol: str) -> Socket:
        """Open one; the caller has the deadline."""
        try:
            connection = await connect(
                url,
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                max_size=MAX_MESSAGE,
                open_timeout=None,
                ping_interval=None,
            )
        except InvalidStatus as error:
            body = error.response.body or b""
            text = body.decode(errors="replace").strip()[:200]
            after = _milliseconds(error.response.headers.get("Retry-After", ""))
            raise Refused(error.response.status_code, text, after) from error
        except InvalidURI as error:
            raise Unusable(str(error)) from error
        except (OSError, EOFError, InvalidHandshake, ProxyError) as error:
            raise Unreachable(f"{url} cannot be reached: {error}") from error
        return _WebSocket(connection)


def _milliseconds(retry_after: str) -> float | None:
    """Read a Retry-After in seconds; a date is rare, and our server sends none."""
    return float(retry_after) * 1_000 if retry_after.isascii() and retry_after.isdecimal() else None
