"""The short way for publishes: from ASGI straight to the group commit.

Django's request, its middleware and REST framework's view cost more than everything else that a
publish needs. What carries a bearer token or an API key comes this way; what is decoded, checked,
permitted, appended and answered is the same code as the view's (publishing.py), and what is
unusual (a browser's session, another Content-Type) goes to the view. Both ways pass the same
bounds (admission.py) before a body is read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

import msgspec
import structlog
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from accounts.principal import Principal
from notifications.api.admission import THE_VIEW, Admission, Admitted, admission
from notifications.api.asgi import (
    BODY_DEADLINE,
    Event,
    GoneError,
    Receive,
    Scope,
    Send,
    declared_size,
    read_body,
    send_answer,
    send_problem,
    too_large,
    too_slow,
)
from notifications.api.bodies import BATCH_BYTES, JSON, NDJSON, SINGLE_BYTES, messages_of
from notifications.api.credentials import Credentials, digest_of
from notifications.api.publishing import (
    Refused,
    place,
    publication_of,
    publication_or_refusal,
    results_of,
    status_of,
)
from notifications.errors import (
    InternalError,
    NotificationError,
    Overloaded,
    RateLimited,
    Unavailable,
)
from notifications.log.records import Publication
from notifications.process import running_process, this_process
from notifications.services.writer import writer

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

AUTHENTICATION_DEADLINE = 1.0
"""Seconds until a look for the credentials is given up; a 503 is due within two."""

TURN_BYTES = 32_768
"""Bytes of a batch that are checked in one turn of the event loop: some 100 small messages."""

CUT_BYTES = 1024 * 1024
"""Size from which a batch is cut into its messages in a thread."""

REFUSAL_PAUSE = 0.5
"""Seconds that a refusal for want of room is held back: who sends again at once, whatever its
Retry-After says, would otherwise have the server do nothing but refuse."""

REFUSALS = 5_000
"""Refusals that are held back at once; more go out at once."""

SINGLE = "/api/v1/publish"
BATCH = "/api/v1/publish/batch"

_MOST = {SINGLE: SINGLE_BYTES, BATCH: BATCH_BYTES}
_JSON_HEADER = (b"content-type", JSON.encode())

logger = structlog.get_logger(__name__)


class LeanPublish:
    """An ASGI application that answers publishes, and hands everything else on."""

    def __init__(self, application: Application, *, admission: Admission = admission) -> None:
        self._application = application
        self._admission = admission
        self._credentials = Credentials()
        self._held_back = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] not in _MOST or scope["method"] != "POST":
            await self._application(scope, receive, send)
            return
        try:
            came = _what_came(scope)
            with self._admission.enter(came.holder if came else THE_VIEW) as admitted:
                if came is None:
                    await self._hand_on(scope, receive, send, admitted)
                    return
                status, body = await self._answer(scope, receive, came, admitted)
            await send_answer(send, status, body, [_JSON_HEADER])
        except (Overloaded, RateLimited) as error:
            await self._hold_back()
            await send_problem(send, error)
        except NotificationError as error:
            await send_problem(send, error)
        except GoneError:
            return
        except Exception:
            logger.exception("a publish failed")
            await send_problem(
                send, InternalError("The server failed on this request; its log says why. Retry.")
            )

    async def _hold_back(self) -> None:
        if self._held_back < REFUSALS:
            self._held_back += 1
            try:
                await asyncio.sleep(REFUSAL_PAUSE)
            finally:
                self._held_back -= 1

    async def _hand_on(
        self, scope: Scope, receive: Receive, send: Send, admitted: Admitted
    ) -> None:
        """Let the view answer, which gets no more of a body than tells it that it is too large.

        Raises BadFrame where the body does not come in time: Django waits for it for ever.
        """
        most = _MOST[scope["path"]]
        admitted.reserve(min(declared_size(scope, most), most))
        left = most + 1
        deadline: float | None = asyncio.get_running_loop().time() + BODY_DEADLINE

        async def receive_bounded() -> Event:
            nonlocal left, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    event = await receive()
            except TimeoutError:
                raise too_slow() from None
            if event["type"] == "http.request":
                body = event.get("body", b"")
                if len(body) >= left:
                    event = event | {"body": body[:left], "more_body": False}
                left -= len(event.get("body", b""))
                if not event.get("more_body"):
                    deadline = None  # what comes is only the news that the client has gone
            return event

        await self._application(scope, receive_bounded, send)

    async def _answer(
        self, scope: Scope, receive: Receive, came: "_Came", admitted: Admitted
    ) -> tuple[int, bytes]:
        # Who it is comes first: a stranger's body is not worth keeping. Nor is one for which the
        # log has no room.
        principal = self._known(came) or await self._principal_of(came)
        commit = writer()
        commit.queue.require_room(principal.id)
        most = _MOST[scope["path"]]
        declared = declared_size(scope, most)
        if declared > most:
            raise too_large(most)
        admitted.reserve(declared)
        data = await read_body(receive, most=most)
        if scope["path"] == SINGLE:
            placed = place((await commit.append_async([publication_of(data, principal)]))[0])
            return status_of(placed), msgspec.json.encode(placed)
        parts = await _sorted(data, came.media_type, principal)
        publications = [part for part in parts if isinstance(part, Publication)]
        outcomes = await commit.append_async(publications) if publications else []
        return HTTPStatus.OK, msgspec.json.encode(results_of(parts, outcomes))

    def _known(self, came: "_Came") -> Principal | None:
        # The partitions and policies are known when the process runs.
        if running_process() is None:
            return None
        return self._credentials.known(came.credentials, came.digest, is_key=came.is_key)

    async def _principal_of(self, came: "_Came") -> Principal:
        try:
            async with asyncio.timeout(AUTHENTICATION_DEADLINE):
                await this_process()
                return await self._credentials.principal_of(came.credentials, is_key=came.is_key)
        except TimeoutError:
            raise Unavailable(
                "The database does not answer now; nothing was published. Retry.", retry_after=1000
            ) from None


class _Came(NamedTuple):
    """What a request that takes the short way came with."""

    credentials: str
    is_key: bool
    digest: bytes
    media_type: str

    @property
    def holder(self) -> str:
        return self.digest.hex()


def _what_came(scope: Scope) -> _Came | None:
    """Read a request's headers; None when it takes the long way."""
    authorization = content_type = host = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
        elif name == b"content-type":
            content_type = value
        elif name == b"host":
            host = value
    scheme, _, text = authorization.decode("latin-1").partition(" ")
    scheme, credentials = scheme.lower(), text.strip()
    media_type = content_type.decode("latin-1").partition(";")[0].strip()
    if (
        scheme not in ("bearer", "api-key")
        or not credentials
        or not (media_type == JSON or (media_type == NDJSON and scope["path"] == BATCH))
        or settings.SECURE_SSL_REDIRECT
        or not _is_served(host, tuple(settings.ALLOWED_HOSTS))
    ):
        return None
    is_key = scheme == "api-key"
    return _Came(credentials, is_key, digest_of(credentials, is_key=is_key), media_type)


@lru_cache(maxsize=256)
def _is_served(host: bytes, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host.decode("latin-1"))
    return bool(domain) and validate_host(domain, allowed)


async def _sorted(
    data: bytes, media_type: str, principal: Principal
) -> list[Publication | Refused]:
    """Check each message of a batch, as sort_batch does, in turns with whatever else is to do."""
    if len(data) > CUT_BYTES:
        messages = await asyncio.to_thread(messages_of, data, media_type)
    else:
        messages = messages_of(data, media_type)
    parts: list[Publication | Refused] = []
    checked = 0
    for message in messages:
        checked += len(message)
        if checked > TURN_BYTES:
            checked = len(message)
            await asyncio.sleep(0)
        parts.append(publication_or_refusal(message, principal))
    return parts
