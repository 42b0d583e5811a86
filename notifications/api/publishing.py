"""POST /publish and /publish/batch: messages in, their places in the log out."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.principal import Principal
from notifications.api import documentation as doc
from notifications.api.bodies import (
    BATCH_BYTES,
    JSON,
    NDJSON,
    SINGLE_BYTES,
    BatchBody,
    PublishBody,
    decode_body,
    messages_of,
    read_body,
)
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.errors import NotificationError, PayloadTooLarge
from notifications.log.records import Outcome, Publication
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import check_payload
from notifications.protocol.values import Record
from notifications.selectors.messages import Position
from notifications.services.policies import policies
from notifications.services.publishing import appended, prepare
from notifications.services.writer import writer

LINES = {"type": "string", "description": "One message a line, each as in `PublishBody`."}


class Placed(Record, frozen=True, kw_only=True):
    """Where a message stands. status: within a batch only, what a single publish is answered.

    seq, position: absent where the topic is ephemeral.
    """

    status: int | None = None
    id: str
    topic: str
    seq: int | None = None
    position: Position | None = None
    timestamp: str
    duplicate: bool | None = None


class Refused(Record, frozen=True, kw_only=True):
    """Why a message of a batch was not published."""

    status: int
    code: str
    message: str
    retry_after: int | None = None
    data: dict[str, Any] | None = None


class Results(Record, frozen=True, kw_only=True):
    """What became of a batch, in its order."""

    # msgspec describes no union of untagged records, hence the words of JSON Schema.
    results: list[
        Annotated[
            Any,
            msgspec.Meta(extra_json_schema={"oneOf": [doc.body(Placed), doc.body(Refused)]}),
        ]
    ]


class PublishView(Endpoint):
    """POST /api/v1/publish."""

    @extend_schema(
        operation_id="publish",
        summary="Publish a message",
        request={JSON: doc.body(PublishBody)},
        responses={
            201: doc.answered(Placed, "Durable"),
            200: doc.answered(Placed, "A retry with the same `idempotencyKey`: the first answer"),
            **doc.refusals(400, 403, 409, 413, 415, 429, 503),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Append a message to a topic's log and answer once it is durable."""
        data = read_body(request._request, most=SINGLE_BYTES)
        policies.refresh()
        publication = publication_of(data, principal_of(request))
        placed = place(writer().append([publication])[0])
        return answer(placed, status=status_of(placed))


class PublishBatchView(Endpoint):
    """POST /api/v1/publish/batch."""

    @extend_schema(
        operation_id="publish_batch",
        summary="Publish up to 1,000 messages",
        request={JSON: doc.body(BatchBody), NDJSON: LINES},
        responses={
            200: doc.answered(Results, "One result for each message, in order"),
            **doc.refusals(400, 403, 413, 415, 429, 503),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Append messages in their order. Each stands alone: a refused one stops no other."""
        data = read_body(request._request, most=BATCH_BYTES, media_types=(JSON, NDJSON))
        policies.refresh()
        parts, publications = sort_batch(
            data, request._request.content_type or JSON, principal_of(request)
        )
        outcomes = writer().append(publications) if publications else []
        return answer(results_of(parts, outcomes))


def sort_batch(
    data: bytes, media_type: str, principal: Principal
) -> tuple[list[Publication | Refused], list[Publication]]:
    """Check each message of a batch; return all in order, and those to append.

    Append them in one submission: they then share a transaction, and its fsync. Raises BadFrame
    when the batch itself is none.
    """
    parts = [
        publication_or_refusal(message, principal) for message in messages_of(data, media_type)
    ]
    return parts, [part for part in parts if isinstance(part, Publication)]


def publication_or_refusal(data: bytes, principal: Principal) -> Publication | Refused:
    """Check the JSON text of one message of a batch, which may be as long as a single publish."""
    try:
        if len(data) > SINGLE_BYTES:  # not decoded: the event loop waits for each message
            raise PayloadTooLarge(
                f"Send at most {SINGLE_BYTES:,} bytes for each message of a batch.",
                data={"bodyBytes": SINGLE_BYTES},
            )
        return publication_of(data, principal)
    except NotificationError as error:
        return refused(error)


def results_of(parts: list[Publication | Refused], outcomes: list[Outcome]) -> Results:
    """Say what became of each message of a batch, in its order."""
    following = iter(outcomes)
    return Results(
        results=[part if isinstance(part, Refused) else _result(next(following)) for part in parts]
    )


def publication_of(data: bytes, principal: Principal) -> Publication:
    """Check a message's JSON text; raises BadFrame, BadTopic, PayloadTooLarge, Forbidden."""
    body = decode_body(data, PublishBody)
    return prepare(
        topic=body.topic,
        payload=check_payload(body.payload),
        metadata=body.metadata,
        idempotency_key=body.idempotency_key,
        principal=principal,
    )


def place(outcome: Outcome, *, is_in_batch: bool = False) -> Placed:
    """Say where a message stands; raises Conflict."""
    found = appended(outcome)
    return Placed(
        status=(HTTPStatus.OK if found.duplicate else HTTPStatus.CREATED) if is_in_batch else None,
        id=found.id,
        topic=found.topic,
        seq=found.seq if found.offset else None,
        position=[found.partition, found.offset] if found.offset else None,
        timestamp=format_instant(found.published_at),
        duplicate=found.duplicate or None,
    )


def status_of(placed: Placed) -> int:
    """Tell a new message from a retry."""
    return HTTPStatus.OK if placed.duplicate else HTTPStatus.CREATED


def refused(error: NotificationError) -> Refused:
    """Say why a message was not published."""
    return Refused(
        status=error.status,
        code=error.code,
        message=error.message,
        retry_after=error.retry_after,
        data=error.data,
    )


def _result(outcome: Outcome) -> Placed | Refused:
    try:
        return place(outcome, is_in_batch=True)
    except NotificationError as error:
        return refused(error)
