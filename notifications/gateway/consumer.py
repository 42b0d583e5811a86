"""The Channels consumer: translates between ASGI events and a connection, and decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from notifications import metrics
from notifications.errors import Unavailable
from notifications.gateway.admission import admit
from notifications.gateway.connection import Connection
from notifications.gateway.outbound import DROPPED
from notifications.gateway.requests import Requests
from notifications.process import Process, this_process
from notifications.process.gate import Refused

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = structlog.get_logger(__name__)


class NotificationConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """One per socket.

    It takes no channel of the layer: the process has one for all its sockets, and the hub writes
    to their buffers. So it runs its own loop of events instead of the base class's, which would
    open a channel and hop through a thread for every event.
    """

    connection: Connection
    requests: Requests

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one socket until it is closed."""
        self.scope = scope
        self.base_send = send
        event: dict[str, Any] = {"type": ""}  # what came last; nothing, if cancelled before
        try:
            while True:
                event = await receive()
                match event["type"]:
                    case "websocket.connect":
                        await self.websocket_connect(event)
                    case "websocket.receive" if hasattr(self, "connection"):
                        await self.websocket_receive(event)
                    case "websocket.disconnect":
                        raise StopConsumer
        except StopConsumer:
            pass
        except asyncio.CancelledError as error:
            if error.args != (DROPPED,):
                raise
        finally:
            if hasattr(self, "connection"):
                self.connection.outbound.is_ending()
            code = event.get("code", 1006) if event["type"] == "websocket.disconnect" else 1011
            await self.websocket_disconnect(code)

    async def websocket_connect(self, event: dict[str, Any]) -> None:
        """Let the socket in, or refuse the upgrade."""
        try:
            process = await this_process()
        except Exception as error:
            if not isinstance(error, Unavailable):
                logger.exception("the server process could not be started")
            await self._refuse(Refused(503, "The server is not ready. Try again.", retry_after=2))
            return
        now = asyncio.get_running_loop().time()
        decision = admit(self.scope, process.gate, draining=process.draining, now=now)
        if isinstance(decision, Refused):
            await self._refuse(decision)
            return
        process.gate.enter(decision.address)
        try:
            await self.send({"type": "websocket.accept", "subprotocol": decision.subprotocol})
        except BaseException:
            process.gate.known(decision.address)
            process.gate.leave()
            raise
        self._accepted(process, Connection(process, self.scope, self.send, decision))

    async def websocket_receive(self, event: dict[str, Any]) -> None:
        """Hand an inbound message to the conversation, and carry out what it asks for."""
        text = event.get("text")
        work = self.connection.receive(text if text is not None else event["bytes"])
        if work:
            await self.requests.carry_out(work)

    async def websocket_disconnect(self, code: int) -> None:
        """Let go of everything that belonged to the socket."""
        if not hasattr(self, "connection"):
            return
        process = self.connection.process
        process.dismiss(self.connection)
        process.gate.leave()
        await self.connection.gone(code)
        del self.connection, self.requests

    def _accepted(self, process: Process, connection: Connection) -> None:
        self.connection = connection
        self.requests = Requests(connection)
        self.scope.clear()  # this consumer's own; what the upgrade said is of no more use
        process.admit(connection)

    async def _refuse(self, refused: Refused) -> None:
        metrics.connections_refused.labels(str(refused.status)).inc()
        await refuse(self.scope, self.send, refused)


async def refuse(scope: dict[str, Any], send: Send, refused: Refused) -> None:
    """Answer an upgrade with an HTTP status, where the server can."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})  # the server answers 403, its only choice
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    await send(
        {"type": "websocket.http.response.start", "status": refused.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": f"{refused.message}\n".encode()})


async def refuse_unknown_path(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer an upgrade of a path that serves no sockets."""
    await receive()
    await refuse(scope, send, Refused(404, "Sockets are served at /ws."))
