"""GET /messages/{id}/deliveries."""

import uuid
from typing import Literal

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.principal import Principal
from notifications.api import documentation as doc
from notifications.api.bodies import decode_query
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.api.problems import NothingHere
from notifications.errors import BadFrame, Forbidden
from notifications.log.records import to_ms
from notifications.protocol.instants import format_instant
from notifications.protocol.values import Record, Text
from notifications.selectors.deliveries import DeliveryRow, Tracked, find_tracked, list_deliveries

MESSAGE = doc.in_path("id", "The id of the message.", {"type": "string", "format": "uuid"})


class DeliveriesQuery(Record, frozen=True, kw_only=True):
    """The parameters of `GET /messages/{id}/deliveries`."""

    after: Text | None = None


class DeliveryAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A message on its way to a client.

    session: the session's public handle. user: a name, or `key:<identifier>`.
    attempts: how often it was given to the client's connection.
    reason: why it is not acknowledged yet (`no_ack`, `away`), or never will be (`session_ended`,
    `unsubscribed`, `expired`, `purged`, `not_acknowledged`). since: when the state began.
    """

    session: str
    user: str
    client_id: str
    state: Literal["pending", "acknowledged", "undelivered"]
    attempts: int
    reason: str | None
    since: str


class DeliveriesPage(msgspec.Struct, frozen=True):
    """A page of a message's deliveries."""

    deliveries: list[DeliveryAnswer]
    next: str | None


class DeliveriesView(Endpoint):
    """GET /api/v1/messages/{id}/deliveries."""

    @extend_schema(
        operation_id="message_deliveries",
        summary="Show who got a message",
        parameters=[
            MESSAGE,
            *doc.in_query(DeliveriesQuery, after="The `next` of the page before."),
        ],
        responses={200: doc.answered(DeliveriesPage), **doc.refusals(400, 403, 404, 503)},
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """List, by pages of 100, the clients that a message is for and whether they have it.

        A client has acknowledged a message when the cursor of its last `ack` covers it. For the
        message's publisher and the admin scope; to others any message is 403, there or not.
        """
        query = decode_query(request.query_params, DeliveriesQuery)
        after = _read_place(query.after) if query.after is not None else None
        rows, following = list_deliveries(_find(principal_of(request), id), after=after)
        return answer(
            DeliveriesPage(
                [_answer(row) for row in rows],
                following.hex if following is not None else None,
            )
        )


def _find(principal: Principal, text: str) -> Tracked:
    """Return a message whose deliveries the principal may see.

    One that is not there and one of somebody else are answered alike, but to the admin scope.
    """
    try:
        found = find_tracked(uuid.UUID(text))
    except ValueError:
        found = None
    if found is not None and (principal.is_admin or found.publisher == principal.id):
        return found
    if principal.is_admin:
        raise NothingHere("There is no message with this id, or it is not kept any more.")
    raise Forbidden("This is no message that you published; ask for one of yours.")


def _answer(row: DeliveryRow) -> DeliveryAnswer:
    return DeliveryAnswer(
        session=str(row.session),
        user=row.user,
        client_id=row.client_id,
        state=row.state,  # type: ignore[arg-type]  # a column that holds nothing else
        attempts=row.attempts,
        reason=row.reason or None,
        since=format_instant(to_ms(row.since)),
    )


def _read_place(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(hex=text)
    except ValueError:
        raise BadFrame("Send `after` as the `next` of the page before.") from None
