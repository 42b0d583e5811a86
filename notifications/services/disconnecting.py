"""Disconnecting: end a client's session, wherever its socket is."""

import asyncio
import uuid
from datetime import datetime
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from notifications.bus.bus import CONTROL_GROUP
from notifications.models import Session
from notifications.protocol.codes import CloseCode

REASON = "server_initiated"
"""What the session's row says; the client library reports the same word."""

TELL_TIMEOUT = 1.0
"""Seconds that the channel layer has to tell the servers."""

DEFAULT_WORDS = "An operator disconnected this client."

logger = structlog.get_logger(__name__)


def disconnect_session(*, handle: uuid.UUID, words: str | None, now: datetime) -> bool:
    """End a session for good, and have its socket closed with 4503.

    words: what the client is told. Returns False when the session had ended before.
    Blocking; call it outside of the event loop.
    """
    # The row first: were the socket closed first, the client could resume in between.
    ended = Session.objects.filter(pk=handle, ended_at__isnull=True).update(
        state=Session.State.DISCONNECTED, reason=REASON, since=now, ended_at=now
    )
    if not ended:
        return False
    tell_servers(
        {
            "close": str(handle),
            "code": int(CloseCode.DISCONNECTED),
            "reason": words or DEFAULT_WORDS,
        }
    )
    return True


def tell_servers(message: dict[str, Any]) -> None:
    """Send a control message to every server process, once, as far as the channel layer works.

    In a server this runs on the server's own event loop, in any other process on one of its own.
    """
    layer = get_channel_layer()
    if layer is None:
        return

    async def send() -> None:
        async with asyncio.timeout(TELL_TIMEOUT):
            await layer.group_send(CONTROL_GROUP, {"type": "control", "control": message})

    try:
        async_to_sync(send)()
    except Exception as error:
        logger.warning(
            "the channel layer fails; servers were not told",
            error=f"{type(error).__name__}: {error}",
        )
