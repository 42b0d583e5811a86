"""uvicorn's HTTP protocol with bounds on what a request may take: bytes of its head, and time.

uvicorn waits for a request without end, and keeps whatever its head has by then; so sockets that
say little, or never stop, would cost a server its descriptors and its memory. `serve` selects this
class by name. tests/gateway/test_http_protocol.py fails when the internals that it leans on move.

Bounds: HEAD_BYTES, HEAD_DEADLINE, BODY_DEADLINE. Policy: over one the request is refused with 431
or 408 and the connection closed. Metric: bellwether_requests_refused.
"""

from asyncio import Transport
from http import HTTPStatus
from typing import Any

from notifications import metrics
from notifications.gateway.lean_socket import UpgradingHttpProtocol

HEAD_BYTES = 65_536
"""Bytes of a request's line and headers, give or take one read of the socket."""

HEAD_DEADLINE = 10.0
"""Seconds in which a connection sends the head of its request; it may stay silent between two for
as long as uvicorn keeps it alive."""

BODY_DEADLINE = 60.0
"""Seconds in which the body follows. Publishes have less, and are told so (api/asgi.py)."""


class HttpProtocol(UpgradingHttpProtocol):
    """One HTTP connection of a server."""

    # What a request is at: its head, its body, or neither between two requests. A timer runs only
    # where what came did not end it, which is seldom.
    _at: str | None = "head"
    _size = 0
    _timer: Any = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for a request from now on."""
        super().connection_made(transport)
        self._wait(HEAD_DEADLINE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._now_at(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or several; refuse what is too long, wait for what lacks."""
        super().data_received(data)
        if not self.__dict__ or self._at is None:
            return  # handed over, or complete
        if self._at == "head":
            self._size += len(data)
            if self._size > HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        if self._timer is None:
            self._wait(HEAD_DEADLINE if self._at == "head" else BODY_DEADLINE)

    # --- What the parser calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin with a head."""
        if self._at is None:
            self._at = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go on with a body."""
        self._now_at("body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request."""
        self._now_at(None)
        super().on_message_complete()

    # --- Waiting --------------------------------------------------------------------------------

    def _now_at(self, at: str | None) -> None:
        self._at = at
        self._size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        if self._at == "head" and self._is_answering():
            self._wait(HEAD_DEADLINE)  # the request before it is not cut off for it
        elif self._at == "head" and not self._size:
            self.transport.close()  # it never said anything: a browser's connection in advance
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        metrics.requests_refused.labels(str(int(status))).inc()
        if self._at == "head" and not self._is_answering():  # else it would be in another's answer
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                % (status, status.phrase.encode())
            )
        self._now_at(None)
        self.transport.close()
