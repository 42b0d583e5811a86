"""What the short way for publishes needs of bare ASGI: a request's body in, an answer out."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from accounts.authentication import CHALLENGE
from notifications.api.problems import MEDIA_TYPE, described
from notifications.errors import BadFrame, NotificationError, PayloadTooLarge

Scope = dict[str, Any]
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

BODY_DEADLINE = 30.0
"""Seconds that a client has to send its body."""

_NOSNIFF = (b"x-content-type-options", b"nosniff")


class GoneError(Exception):
    """The client went away before its body was complete."""


def declared_size(scope: Scope, most: int) -> int:
    """Return the bytes that a body is said to have; `most` where nothing is said."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return most


async def read_body(receive: Receive, *, most: int) -> bytes:
    """Return a body of at most so many bytes; raises PayloadTooLarge, BadFrame and GoneError."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise GoneError
                chunk: bytes = event.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise too_large(most)
                chunks.append(chunk)
                if not event.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise too_slow() from None


def too_large(most: int) -> PayloadTooLarge:
    """Make the refusal of a body over a bound."""
    return PayloadTooLarge(f"Send a body of at most {most:,} bytes.", data={"bodyBytes": most})


def too_slow() -> BadFrame:
    """Make the refusal of a body that did not come in time."""
    return BadFrame(f"Send the whole body within {BODY_DEADLINE:.0f} seconds.")


async def send_problem(send: Send, error: NotificationError) -> None:
    """Answer with an error, as problem+json."""
    status, body, retry_after = described(error)
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", CHALLENGE.encode()))
    await send_answer(send, status, body, headers)


async def send_answer(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """Answer with a status and a whole body."""
    await send(
        {
            "type": "http.response.start",
            "status": int(status),
            "headers": [*headers, (b"content-length", b"%d" % len(body)), _NOSNIFF],
        }
    )
    await send({"type": "http.response.body", "body": body})
