"""The short way for publishes: from ASGI straight to the group commit.

Django's request, its middleware and REST framework's view cost more than everything else that a
publish needs. What carries a bearer token or an API key comes this way; what is decoded, checked,
permitted, appended and answered is the same code as the view's (publishing.py), and what is
unusual (a browser's session, another Content-Type) goes to the view.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import structlog
from django.conf import settings
from django.http import HttpResponse
from django.http.request import split_domain_port, validate_host

from accounts.authentication import CHALLENGE
from accounts.principal import Principal
from notifications.api.bodies import BATCH_BYTES, JSON, NDJSON, SINGLE_BYTES
from notifications.api.credentials import Credentials
from notifications.api.problems import problem
from notifications.api.publishing import place, publication_of, results_of, sort_batch, status_of
from notifications.errors import (
    BadFrame,
    InternalError,
    NotificationError,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
)
from notifications.process import this_process
from notifications.services.writer import writer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

AUTHENTICATION_DEADLINE = 1.0
"""Seconds until a look for the credentials is given up; a 503 is due within two."""

LARGE_BYTES = 65_536
"""Size from which a batch is checked in a thread."""

BODY_DEADLINE = 30.0
"""Seconds that a client has to send its body."""

SINGLE = "/api/v1/publish"
BATCH = "/api/v1/publish/batch"

logger = structlog.get_logger(__name__)


class LeanPublish:
    """An ASGI application that answers publishes, and hands everything else on."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._credentials = Credentials()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        came = _what_came(scope)
        if came is None:
            await self._application(scope, receive, send)
            return
        try:
            status, body = await self._answer(scope, receive, came)
            await _send(send, status, body, [(b"content-type", b"application/json")])
        except NotificationError as error:
            await _send_problem(send, error)
        except _Gone:
            return
        except Exception:
            logger.exception("a publish failed")
            await _send_problem(
                send, InternalError("The server failed on this request; its log says why. Retry.")
            )

    async def _answer(self, scope: Scope, receive: Receive, came: "_Came") -> tuple[int, bytes]:
        is_batch = scope["path"] == BATCH
        # Who it is comes first: a stranger's body is not worth keeping.
        principal = await self._principal_of(came)
        data = await _read(scope, receive, most=BATCH_BYTES if is_batch else SINGLE_BYTES)
        if not is_batch:
            publication = publication_of(data, principal)
            placed = place((await writer().append_async([publication]))[0])
            return status_of(placed), msgspec.json.encode(placed)
        if len(data) > LARGE_BYTES:
            # A full batch takes up to a second to check, in which no socket would be served.
            parts, publications = await asyncio.to_thread(
                sort_batch, data, came.media_type, principal
            )
        else:
            parts, publications = sort_batch(data, came.media_type, principal)
        outcomes = await writer().append_async(publications) if publications else []
        return HTTPStatus.OK, msgspec.json.encode(results_of(parts, outcomes))

    async def _principal_of(self, came: "_Came") -> Principal:
        try:
            async with asyncio.timeout(AUTHENTICATION_DEADLINE):
                await this_process()  # the partitions and policies are known then
                return await self._credentials.principal_of(came.credentials, is_key=came.is_key)
        except TimeoutError:
            raise Unavailable(
                "The database does not answer now; nothing was published. Retry.", retry_after=1000
            ) from None


class _Gone(Exception):
    """The client went away before its body was complete."""


class _Came(NamedTuple):
    """What a request that takes the short way came with."""

    credentials: str
    is_key: bool
    media_type: str


def _what_came(scope: Scope) -> _Came | None:
    """Read a request's headers; None when it takes the long way."""
    path = scope["path"]
    if path not in (SINGLE, BATCH) or scope["method"] != "POST" or settings.SECURE_SSL_REDIRECT:
        return None
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    scheme, _, credentials = headers.get(b"authorization", "").partition(" ")
    media_type = headers.get(b"content-type", "").partition(";")[0].strip()
    domain, _ = split_domain_port(headers.get(b"host", ""))
    if (
        scheme.lower() not in ("bearer", "api-key")
        or not credentials.strip()
        or not (media_type == JSON or (media_type == NDJSON and path == BATCH))
        or not (domain and validate_host(domain, settings.ALLOWED_HOSTS))
    ):
        return None
    return _Came(credentials.strip(), scheme.lower() == "api-key", media_type)


async def _read(scope: Scope, receive: Receive, *, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_DEADLINE):
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise _Gone
                chunk: bytes = event.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise PayloadTooLarge(
                        f"Send a body of at most {most:,} bytes.", data={"bodyBytes": most}
                    )
                chunks.append(chunk)
                if not event.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise BadFrame(f"Send the whole body within {BODY_DEADLINE:.0f} seconds.") from None


async def _send_problem(send: Send, error: NotificationError) -> None:
    response: HttpResponse = problem(error)
    if isinstance(error, Unauthenticated) or error.status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = CHALLENGE
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
    ]
    await _send(send, response.status_code, response.content, headers)


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": int(status),
            "headers": [
                *headers,
                (b"content-length", str(len(body)).encode()),
                (b"x-content-type-options", b"nosniff"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
