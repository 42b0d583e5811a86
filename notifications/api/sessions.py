"""GET /sessions, and POST /sessions/{id}/disconnect."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.principal import Principal
from notifications.api import documentation as doc
from notifications.api.bodies import (
    JSON,
    SINGLE_BYTES,
    decode_body,
    decode_query,
    has_body,
    read_body,
)
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.api.problems import NothingHere
from notifications.errors import BadFrame, Forbidden
from notifications.log.records import to_ms
from notifications.models import Subscription
from notifications.protocol.instants import format_instant
from notifications.protocol.values import Record, Text, Text128
from notifications.selectors.sessions import SessionRow, find_session, list_sessions
from notifications.services.disconnecting import disconnect_session

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

StateName = Annotated[
    Literal["connecting", "connected", "reconnecting", "disconnected"],
    msgspec.Meta(description="one of connecting, connected, reconnecting, disconnected"),
]

SESSION = doc.in_path("id", "The session's public handle.", {"type": "string", "format": "uuid"})


class SessionsQuery(Record, frozen=True, kw_only=True):
    """The parameters of `GET /sessions`."""

    user: Text | None = None
    state: StateName | None = None
    server: Text | None = None
    after: Text | None = None


class DisconnectBody(Record, frozen=True, kw_only=True):
    """What `POST /sessions/{id}/disconnect` takes."""

    reason: Text128 | None = None


class SubscriptionAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A subscription in force."""

    subscription_id: str
    topic: str
    created_at: str


class Counters(msgspec.Struct, frozen=True, rename="camel"):
    """What a session counted, as of its last change of state."""

    connects: int
    messages_sent: int


class SessionAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A session: what the server knows of one client of one user or API key.

    id: a public handle that resumes nothing. user: a name, or `key:<identifier>`.
    reason: why it is in this state, since when is `since`. server: the process that has or had
    its socket. subscriptions: those in force, none once the session has ended.
    """

    id: str
    user: str
    client_id: str
    state: str
    reason: str | None
    server: str | None
    since: str
    subscriptions: list[SubscriptionAnswer]
    counters: Counters


class SessionsPage(msgspec.Struct, frozen=True):
    """A page of sessions."""

    sessions: list[SessionAnswer]
    next: str | None


class SessionsView(Endpoint):
    """GET /api/v1/sessions."""

    @extend_schema(
        operation_id="sessions",
        summary="List sessions",
        parameters=doc.in_query(
            SessionsQuery,
            user="A user's name, or `key:<identifier>` for an API key.",
            state="Where the client stands.",
            server="The id of a server process.",
            after="The `next` of the page before.",
        ),
        responses={200: doc.answered(SessionsPage), **doc.refusals(400, 503)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List sessions by pages of 100, those that changed last first.

        Yours only, unless you have the admin scope.
        """
        query = decode_query(request.query_params, SessionsQuery)
        rows, following = list_sessions(
            owner=_owner(principal_of(request)),
            user=query.user,
            state=query.state,
            server=query.server,
            after=_read_place(query.after) if query.after is not None else None,
        )
        return answer(
            SessionsPage(
                [_answer(row) for row in rows],
                _write_place(*following) if following is not None else None,
            )
        )


class SessionView(Endpoint):
    """GET /api/v1/sessions/{id}."""

    @extend_schema(
        operation_id="session",
        summary="Show a session",
        parameters=[SESSION],
        responses={200: doc.answered(SessionAnswer), **doc.refusals(403, 404, 503)},
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """Show a session. Without the admin scope any other than yours is 403, there or not."""
        return answer(_answer(visible_session(principal_of(request), id)))


class DisconnectView(Endpoint):
    """POST /api/v1/sessions/{id}/disconnect."""

    @extend_schema(
        operation_id="session_disconnect",
        summary="Disconnect a client",
        parameters=[SESSION],
        request={JSON: doc.body(DisconnectBody)},
        responses={
            202: doc.answered(SessionAnswer, "Ended; its socket closes with 4503"),
            **doc.refusals(400, 403, 404, 413, 415, 503),
        },
    )
    def post(self, request: Request, id: str) -> HttpResponse:
        """End a session and close its socket wherever it is. It cannot be resumed."""
        words = self._words(request)
        principal = principal_of(request)
        row = visible_session(principal, id)
        disconnect_session(handle=row.session.pk, words=words, now=timezone.now())
        return answer(_answer(visible_session(principal, id)), status=202)

    def _words(self, request: Request) -> str | None:
        if not has_body(request._request):
            return None
        data = read_body(request._request, most=SINGLE_BYTES)
        return decode_body(data, DisconnectBody).reason if data else None


def _owner(principal: Principal) -> str | None:
    return None if principal.is_admin else principal.id


def visible_session(principal: Principal, handle: str) -> SessionRow:
    """Return a session that the principal may see.

    One that is not there and one of somebody else are answered alike: 403, but 404 to the admin
    scope, which may know what there is.
    """
    try:
        row = find_session(handle=uuid.UUID(handle), owner=_owner(principal))
    except ValueError:
        row = None
    if row is not None:
        return row
    if principal.is_admin:
        raise NothingHere("There is no session with this id; GET /api/v1/sessions lists them.")
    raise Forbidden("This is no session of yours; GET /api/v1/sessions lists them.")


def _answer(row: SessionRow) -> SessionAnswer:
    session = row.session
    return SessionAnswer(
        id=str(session.pk),
        user=row.user,
        client_id=session.client_id,
        state=session.state,
        reason=session.reason or None,
        server=session.server_id,
        since=_instant(session.since),
        subscriptions=[subscription_answer(held) for held in row.subscriptions],
        counters=Counters(session.connects, session.messages_sent),
    )


def subscription_answer(held: Subscription) -> SubscriptionAnswer:
    """Describe a subscription."""
    return SubscriptionAnswer(str(held.pk), held.pattern, _instant(held.created_at))


def _instant(moment: datetime) -> str:
    return format_instant(to_ms(moment))


def _write_place(since: datetime, handle: uuid.UUID) -> str:
    return f"{(since - _EPOCH) // _MICROSECOND}.{handle.hex}"


def _read_place(text: str) -> tuple[datetime, uuid.UUID]:
    microseconds, _, handle = text.partition(".")
    try:
        return _EPOCH + int(microseconds) * _MICROSECOND, uuid.UUID(handle)
    except (ValueError, OverflowError):
        raise BadFrame("Send `after` as the `next` of the page before.") from None
