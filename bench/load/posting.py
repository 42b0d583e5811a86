"""POST requests over keep-alive connections, cheap enough not to be what is measured."""

import asyncio
from typing import NamedTuple, cast

from bench.load.responses import ResponseReader


class Endpoint(NamedTuple):
    """Where to publish. authorization: the header's value, or empty for none."""

    port: int
    path: str
    authorization: str
    host: str = "127.0.0.1"

    def request(self, body: bytes, *, media_type: str = "application/json") -> bytes:
        """Build the request that carries this body."""
        proof = f"Authorization: {self.authorization}\r\n" if self.authorization else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{proof}"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Poster(asyncio.Protocol):
    """One connection with at most one request on its way. responses: has read the last answer."""

    def __init__(self, *, keep_body: bool = False) -> None:
        self._transport: asyncio.Transport | None = None
        self.responses = ResponseReader(keep_body=keep_body)
        self._waiting: asyncio.Future[int] | None = None

    @property
    def usable(self) -> bool:
        """Tell whether a request can be sent: the server closes connections that idle."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand the status to whoever waits for it."""
        waiting = self._waiting
        try:
            statuses = self.responses.feed(data)
        except ValueError as error:
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
            self.close()
            return
        if statuses and waiting is not None and not waiting.done():
            waiting.set_result(statuses[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request on its way."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("closed before its answer"))

    async def post(self, request: bytes) -> int:
        """Send a request and return its status code. Raises OSError when the connection is lost."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def connect(port: int, host: str = "127.0.0.1", *, keep_body: bool = False) -> Poster:
    """Open one connection to a server."""
    loop = asyncio.get_running_loop()
    _, poster = await loop.create_connection(lambda: Poster(keep_body=keep_body), host, port)
    return poster
