"""POST /sessions/{id}/subscriptions, and DELETE /sessions/{id}/subscriptions/{subscriptionId}."""

from typing import Annotated, Any

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from notifications.api import documentation as doc
from notifications.api.bodies import JSON, SINGLE_BYTES, decode_body, read_body
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.api.problems import NothingHere
from notifications.api.sessions import (
    SESSION,
    SubscriptionAnswer,
    subscription_answer,
    visible_session,
)
from notifications.errors import BadFrame
from notifications.protocol.client_frames import TopicText
from notifications.protocol.values import Batch, Flag, Milliseconds, Record
from notifications.services.outside_changes import begin_subscription, end_subscription

SUBSCRIPTION = doc.in_path(
    "subscriptionId", "From the session's `subscriptions`.", {"type": "string"}
)


class OutsideOptions(Record, frozen=True, kw_only=True):
    """What a subscription wants beyond its pattern; the fields are those of the `subscribe` frame.

    replayMissed: false keeps what was missed out of the replays after a resume.
    maxReplayAge: milliseconds; older messages are not replayed. filter: a tree, as section 6 of
    docs/protocol.md has it. batch: overrides the connection's.
    Replays are the client's to ask for: `since`, and `replayMissed: true`, are refused.
    """

    replay_missed: Flag | None = None
    max_replay_age: Milliseconds | None = None
    filter: Annotated[Any, msgspec.Meta(description="a filter tree")] = None
    batch: Annotated[Batch, msgspec.Meta(description="an object")] | None = None
    since: Annotated[
        None, msgspec.Meta(description="null: only the client itself can ask for a replay")
    ] = None

    def __post_init__(self) -> None:
        if self.replay_missed:
            raise BadFrame(
                "Send `options.replayMissed` as false, or leave it out: "
                "only the client itself can ask for a replay."
            )


class SubscribeBody(Record, frozen=True, kw_only=True):
    """What `POST /sessions/{id}/subscriptions` takes."""

    topic: TopicText
    options: Annotated[OutsideOptions, msgspec.Meta(description="an object")] | None = None


class SubscriptionsView(Endpoint):
    """POST /api/v1/sessions/{id}/subscriptions."""

    @extend_schema(
        operation_id="session_subscribe",
        summary="Subscribe a client",
        parameters=[SESSION],
        request={JSON: doc.body(SubscribeBody)},
        responses={
            201: doc.answered(SubscriptionAnswer, "In force"),
            **doc.refusals(400, 403, 404, 409, 413, 415, 429, 503),
        },
    )
    def post(self, request: Request, id: str) -> HttpResponse:
        """Subscribe a session's client to a topic or pattern, from now on.

        A client that is connected is sent `subscribed` without an `id`; one that is away finds the
        subscription when it resumes, and what was published since. For the session's own user, and
        for the admin scope; in either case the session's user must be granted the pattern.
        """
        body = decode_body(read_body(request._request, most=SINGLE_BYTES), SubscribeBody)
        principal = principal_of(request)
        session = visible_session(principal, id).session
        held = begin_subscription(
            handle=session.pk,
            topic=body.topic,
            options=msgspec.to_builtins(body.options) if body.options is not None else {},
            by=principal,
            now=timezone.now(),
        )
        if held is None:
            raise NothingHere("This session has ended. GET /api/v1/sessions lists the others.")
        return answer(subscription_answer(held), status=201)


class SubscriptionView(Endpoint):
    """DELETE /api/v1/sessions/{id}/subscriptions/{subscriptionId}."""

    @extend_schema(
        operation_id="session_unsubscribe",
        summary="Unsubscribe a client",
        parameters=[SESSION, SUBSCRIPTION],
        responses={204: None, **doc.refusals(403, 404, 503)},
    )
    def delete(self, request: Request, id: str, **path: str) -> HttpResponse:
        """End a subscription of a session's client, whoever began it.

        A client that is connected is sent `unsubscribed` without an `id`. For the session's own
        user, and for the admin scope.
        """
        session = visible_session(principal_of(request), id).session
        end_subscription(
            handle=session.pk, subscription_id=path["subscriptionId"], now=timezone.now()
        )
        return HttpResponse(status=204)
