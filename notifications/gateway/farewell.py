"""The end of a connection from this side: what waits is written, then goodbye, then the close."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from notifications.hub.encoded import Encoded, event_of
from notifications.protocol.conversation import Close

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection

CLOSE_TIMEOUT = 5.0
"""Seconds in which a closing connection may still write what waits; then it is aborted."""

SLOW_CLOSE_TIMEOUT = 2.0
"""The same for a peer that was too slow to read."""

logger = structlog.get_logger(__name__)


class Farewell:
    """A connection that this side closes. words: frames behind all that waits."""

    __slots__ = ("_task", "close")

    def __init__(self, connection: "Connection", close: Close, words: list[Encoded] | None) -> None:
        self.close = close
        self._task = asyncio.get_running_loop().create_task(_finish(connection, close, words))

    async def ended(self) -> None:
        """Stop it where it still goes on, and wait for that."""
        self._task.cancel()
        await asyncio.wait([self._task])


async def _finish(connection: "Connection", close: Close, words: list[Encoded] | None) -> None:
    """Write what waits, say goodbye, close; a peer that does not read in time is dropped."""
    outbound, send, transport = connection.outbound, connection.send_event, connection.transport
    try:
        await outbound.stop()
        async with asyncio.timeout(CLOSE_TIMEOUT if words is None else SLOW_CLOSE_TIMEOUT):
            while (frame := connection.buffer.pop()) is not None:
                await send(event_of([frame]))
            for frame in words or ():
                await send(event_of([frame]))
            code = outbound.close_code(close.code)
            await send({"type": "websocket.close", "code": int(code), "reason": close.reason})
        if transport is not None:
            # A peer that has vanished answers no close, and the socket must not wait for it.
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, transport.abort)
    except Exception as error:
        logger.debug("a close was not taken", error=f"{type(error).__name__}: {error}")
        outbound.drop()
