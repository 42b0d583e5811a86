"""A TCP relay in front of a server, which can drop everybody at once."""

import asyncio
import socket
import struct
from types import TracebackType
from typing import Final, Self

# RST, not FIN: the network went away, nobody said goodbye.
_RESET: Final = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes on between clients and a port of 127.0.0.1.

    It holds a side back while the other does not take more, by the transports' own bounds.
    """

    def __init__(self, port: int) -> None:
        self.clients: set[asyncio.Transport] = set()
        self._to = port
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0, backlog=4096)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all."""
        self._server.close()
        self.reset()

    def reset(self) -> int:
        """Reset every client's connection now; return how many there were."""
        gone = len(self.clients)
        for transport in list(self.clients):
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        self.clients.clear()
        return gone

    async def upstream(self, client: "_Client") -> asyncio.Transport:
        """Connect to the server on behalf of a client."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(
            lambda: _Upstream(client), "127.0.0.1", self._to
        )
        return transport


class _Client(asyncio.Protocol):
    """A client's side; what it says before the server is reached waits in its socket."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._server: asyncio.Transport | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._relay.clients.add(transport)
        transport.pause_reading()
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        try:
            self._server = await self._relay.upstream(self)
        except OSError:
            self.transport.abort()
            return
        if self.transport.is_closing():
            self._server.abort()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._server is not None:
            self._server.write(data)

    def pause_writing(self) -> None:
        if self._server is not None:
            self._server.pause_reading()

    def resume_writing(self) -> None:
        if self._server is not None:
            self._server.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._relay.clients.discard(self.transport)
        if self._server is not None:
            self._server.abort()


class _Upstream(asyncio.Protocol):
    """The server's side."""

    def __init__(self, client: _Client) -> None:
        self._client = client.transport

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._client.close()
