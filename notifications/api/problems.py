"""Refusals over HTTP: application/problem+json (RFC 9457) with the protocol's codes.

Whatever goes wrong below /api/ is answered by `problem`, so no answer is HTML or a traceback.
"""

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.views import set_rollback

from notifications.errors import (
    BadFrame,
    Forbidden,
    InternalError,
    NotificationError,
    PayloadTooLarge,
    RateLimited,
    TokenExpired,
    Unauthenticated,
    Unavailable,
)
from notifications.protocol.values import Record

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = 1_000
"""Milliseconds that a client is told to wait where nobody knows better."""

logger = structlog.get_logger(__name__)


class NothingHere(NotificationError):
    """No such path, session or message: this door's own code, since no frame asks for one."""

    code, status = "NOT_FOUND", 404


class Problem(Record, frozen=True, kw_only=True):
    """The body of a refusal.

    type: always about:blank; `code` is what a program reads.
    title: the HTTP status in words. detail: for a person; says what to do.
    retry_after: milliseconds, as in the header in whole seconds. data: values for a program.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry_after: int | None = None
    data: dict[str, Any] | None = None


def problem(error: NotificationError, *, status: int | None = None) -> HttpResponse:
    """Answer with an error; status: another one than its own."""
    status, body, retry_after = described(error, status=status)
    response = HttpResponse(body, content_type=MEDIA_TYPE, status=status)
    if retry_after is not None:
        response["Retry-After"] = retry_after
    return response


def described(
    error: NotificationError, *, status: int | None = None
) -> tuple[int, bytes, str | None]:
    """Return the status of an answer with an error, its body, and its Retry-After if it has one."""
    status = status or error.status
    retry_after = error.retry_after
    if status in (429, 503) and retry_after is None:
        retry_after = RETRY_AFTER
    body = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        retry_after=retry_after,
        data=error.data,
    )
    # The header is in whole seconds, rounded up.
    seconds = None if retry_after is None else str(-(-retry_after // 1000))
    return status, msgspec.json.encode(body), seconds


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Answer for REST framework whatever a view raised; see settings.REST_FRAMEWORK."""
    set_rollback()
    answer, status = _refusal(error)
    response = problem(answer, status=status)
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    return response


def _refusal(error: Exception) -> tuple[NotificationError, int | None]:
    """Return the error to answer with, and its status where that is another than the error's."""
    status: int | None = None
    match error:
        case NotificationError():
            answer = error
        case exceptions.APIException() if error.status_code < 500:
            answer, status = _refusal_of_framework(error)
        case Http404():
            answer = NothingHere("There is nothing here.")
        case PermissionDenied():
            answer = Forbidden("You may not do this.")
        case RequestDataTooBig():
            answer = PayloadTooLarge("Send a smaller body.")
        case SuspiciousOperation() | UnreadablePostError():
            answer = BadFrame("Send a complete, well-formed request.")
        case OperationalError() | InterfaceError():
            logger.warning("the database does not answer", error=str(error).strip())
            answer = Unavailable("The database does not answer now. Try again shortly.")
        case _:
            logger.error("a request failed", exc_info=error)
            answer = InternalError("The server failed on this request; its log says why. Retry.")
    return answer, status


def _refusal_of_framework(
    error: exceptions.APIException,
) -> tuple[NotificationError, int | None]:
    detail = _sentence(error.detail)
    status: int | None = None
    answer: NotificationError
    match error:
        case exceptions.AuthenticationFailed() if error.get_codes() == TokenExpired.code:
            answer = TokenExpired(detail)
        case exceptions.AuthenticationFailed() | exceptions.NotAuthenticated():
            answer = Unauthenticated(detail)
        case exceptions.PermissionDenied():
            answer = Forbidden(detail)
        case exceptions.NotFound():
            answer = NothingHere(detail)
        case exceptions.Throttled():
            wait = getattr(error, "wait", None)  # seconds; the stubs have no such attribute
            answer = RateLimited(detail, retry_after=int(wait * 1000) if wait else None)
        case _:
            # Another method, Content-Type or Accept than the one described.
            answer, status = BadFrame(detail), error.status_code
    return answer, status


def _sentence(detail: Any, field: str = "") -> str:
    """Flatten REST framework's nested details; each fault names its field."""
    if isinstance(detail, dict):
        return " ".join(_sentence(value, str(key)) for key, value in detail.items())
    if isinstance(detail, list | tuple):
        return " ".join(_sentence(value, field) for value in detail)
    return f"`{field}`: {detail}" if field else str(detail)
