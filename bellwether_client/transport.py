"""The seam to the network: a socket, and what opens one. Tests put another behind it."""

import logging
import time
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol

from bellwether_client.codes import CloseCode

MAX_MESSAGE = 16 * 1_048_576
"""Bytes of one WebSocket message: a batch is at most 100 frames of 64 KiB."""


CLOSE_TIMEOUT = 2.0
"""Seconds that the other side may take to end the TCP connection after a close."""

# At DEBUG the library writes what is sent, and the first frame holds the token.
_logger = logging.getLogger("bellwether_client.websockets")
_logger.setLevel(logging.INFO)


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
        except ConnectionClosed as end:
            raise SocketClosed(_code_of(end)) from None

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as end:
            raise SocketClosed(_code_of(end)) from None

    async def close(self, code: int) -> None:
        await self._connection.close(code)

    def abort(self) -> None:
        self._connection.transport.abort()


def _code_of(end: ConnectionClosed) -> int:
    if end.rcvd is not None:
        return int(end.rcvd.code)
    # A message that is too large would come again; what else cannot be read may be the network's.
    was_too_big = end.sent is not None and end.sent.code == CloseCode.MESSAGE_TOO_BIG
    return int(CloseCode.MESSAGE_TOO_BIG if was_too_big else CloseCode.ABNORMAL)


class _Connect(connect):
    """Follows no redirect, as browsers do not: the token is for the host of the URL."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSockets:
    """Real sockets, by the `websockets` library. The protocol has its own heartbeat."""

    async def open(self, url: str, subprotocol: str) -> Socket:
        """Open one; the caller has the deadline."""
        try:
            connection = await _Connect(
                url,
                subprotocols=[Subprotocol(subprotocol)],
                compression=None,
                max_size=MAX_MESSAGE,
                open_timeout=None,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=None,
                logger=_logger,
            )
        except InvalidStatus as error:
            body = error.response.body or b""
            text = body.decode(errors="replace").strip()[:200]
            after = _milliseconds(error.response.headers.get("Retry-After", ""))
            raise Refused(error.response.status_code, text, after) from error
        except (InvalidURI, InvalidProxy) as error:  # their texts hold the URL
            raise Unusable(f"{_shown(url)} cannot be used: {error.msg}") from error
        except (ValueError, ImportError) as error:  # of a host, a port, a proxy by SOCKS
            raise Unusable(f"{_shown(url)} cannot be used: {error}") from error
        except (OSError, EOFError, InvalidHandshake) as error:
            raise Unreachable(f"{_shown(url)} cannot be reached: {error}") from error
        return _WebSocket(connection)


def _shown(url: str) -> str:
    """Return a URL for messages and logs, without what may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _milliseconds(retry_after: str) -> float | None:
    """Read a Retry-After, which is seconds or a date; None for what is neither."""
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after) * 1_000
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time()) * 1_000
    except (ValueError, OverflowError):
        return None
