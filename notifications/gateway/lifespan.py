"""The server's lifespan: the process starts before the first request and stops after the last."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from notifications.process import stop_process, this_process

logger = structlog.get_logger(__name__)


async def lifespan(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer an ASGI server's lifespan events."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            try:
                await this_process()
            except Exception as error:
                # Without a database the server still answers /healthz and /readyz, and starts
                # for real with the first socket that finds the database again.
                logger.error("not started yet", error=f"{type(error).__name__}: {error}")
            await send({"type": "lifespan.startup.complete"})
        else:
            await stop_process()
            await send({"type": "lifespan.shutdown.complete"})
            return
