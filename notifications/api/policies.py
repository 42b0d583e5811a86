"""/policies: the rules for topics, for the admin scope."""

from typing import Annotated, Literal

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from notifications.api import documentation as doc
from notifications.api.bodies import JSON, SINGLE_BYTES, decode_body, has_body, read_body
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.api.problems import NothingHere
from notifications.errors import Conflict
from notifications.models import TopicPolicy
from notifications.models.policy import MIN_IDEMPOTENCY, MOST_SECONDS, TIMES
from notifications.permissions import require_admin
from notifications.protocol.client_frames import TopicText
from notifications.protocol.values import MAX_INTEGER, Record
from notifications.services.policies import RULES, Policy, delete_policy, set_policy
from notifications.topics.grammar import parse_pattern

PATTERN = doc.in_path("pattern", "A topic or pattern, such as `user.*.typing`.", {"type": "string"})

Number = Annotated[
    int, msgspec.Meta(ge=1, le=MAX_INTEGER, description="a whole number of 1 or more")
]
Seconds = Annotated[
    int,
    msgspec.Meta(
        ge=1000,
        le=MOST_SECONDS * 1000,
        multiple_of=1000,
        description="milliseconds, whole seconds of them, at most a hundred years",
    ),
]
Window = Annotated[
    int,
    msgspec.Meta(
        ge=MIN_IDEMPOTENCY * 1000,
        le=MOST_SECONDS * 1000,
        multiple_of=1000,
        description="milliseconds, whole seconds of them, a day at least",
    ),
]
BatchSize = Annotated[int, msgspec.Meta(ge=1, le=100, description="a whole number, 1 to 100")]
BatchDelay = Annotated[int, msgspec.Meta(ge=0, le=10_000, description="milliseconds, 0 to 10,000")]
OverflowName = Annotated[
    Literal["disconnect", "drop_oldest", "drop_newest", "conflate"],
    msgspec.Meta(description="one of disconnect, drop_oldest, drop_newest, conflate"),
]
Flag = Annotated[bool, msgspec.Meta(description="true or false")]


class PolicyRules(Record, frozen=True, kw_only=True):
    """Rules for topics; what is absent is as the general rule says. All times are milliseconds.

    ephemeral: messages are relayed to whoever is there and not kept.
    ttl: how long a message is delivered for. retention, retentionCount, retentionBytes: what is
    kept of each topic: messages younger than, the newest so many, the newest so many bytes.
    idempotency: how long a retry with the same key is answered as the first was.
    payloadBytes: largest payload. replayMessages: most messages of these topics in one replay.
    batchSize, batchDelay: how live messages are gathered.
    overflow: what gives way when a connection does not keep up, of ephemeral topics only: the
    oldest, the newest, or all but the latest of each topic; or it is closed.
    acknowledged: messages are delivered again until they are acknowledged, each ackTimeout,
    ackAttempts times.
    """

    ephemeral: Flag = False
    ttl: Seconds | None = None
    retention: Seconds | None = None
    retention_count: Number | None = None
    retention_bytes: Number | None = None
    idempotency: Window | None = None
    payload_bytes: Number | None = None
    replay_messages: Number | None = None
    batch_size: BatchSize | None = None
    batch_delay: BatchDelay | None = None
    overflow: OverflowName | None = None
    acknowledged: Flag = False
    ack_timeout: Seconds | None = None
    ack_attempts: Number | None = None


class PolicyBody(PolicyRules, frozen=True, kw_only=True):
    """A policy: the pattern and its rules, those that are set."""

    pattern: TopicText


class PoliciesAnswer(msgspec.Struct, frozen=True):
    """All policies, in the order of their patterns."""

    policies: list[PolicyBody]


class PoliciesView(Endpoint):
    """GET and POST /api/v1/policies."""

    @extend_schema(
        operation_id="policies",
        summary="List policies",
        responses={200: doc.answered(PoliciesAnswer), **doc.refusals(403, 503)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List all policies. For the admin scope."""
        require_admin(principal_of(request))
        return answer(PoliciesAnswer([policy_answer(row) for row in TopicPolicy.objects.all()]))

    @extend_schema(
        operation_id="policy_add",
        summary="Add a policy",
        request={JSON: doc.body(PolicyBody)},
        responses={
            201: doc.answered(PolicyBody, "Added; servers follow within two seconds"),
            **doc.refusals(400, 403, 409, 413, 415, 503),
        },
    )
    def post(self, request: Request) -> HttpResponse:
        """Give a pattern a policy; 409 when it has one. For the admin scope."""
        require_admin(principal_of(request))
        body = decode_body(read_body(request._request, most=SINGLE_BYTES), PolicyBody)
        pattern = parse_pattern(body.pattern)
        if TopicPolicy.objects.filter(pattern=pattern).exists():
            raise Conflict(f"{pattern!r} has a policy. PUT /api/v1/policies/{pattern} replaces it.")
        return answer(policy_answer(set_policy(pattern, _columns(body))), status=201)


class PolicyView(Endpoint):
    """GET, PUT and DELETE /api/v1/policies/{pattern}."""

    @extend_schema(
        operation_id="policy",
        summary="Show a policy",
        parameters=[PATTERN],
        responses={200: doc.answered(PolicyBody), **doc.refusals(400, 403, 404, 503)},
    )
    def get(self, request: Request, pattern: str) -> HttpResponse:
        """Show the policy of exactly this pattern. For the admin scope."""
        require_admin(principal_of(request))
        row = TopicPolicy.objects.filter(pattern=parse_pattern(pattern)).first()
        if row is None:
            raise _no_policy(pattern)
        return answer(policy_answer(row))

    @extend_schema(
        operation_id="policy_set",
        summary="Set a policy",
        parameters=[PATTERN],
        request={JSON: doc.body(PolicyRules)},
        responses={
            200: doc.answered(PolicyBody, "Set; servers follow within two seconds"),
            **doc.refusals(400, 403, 413, 415, 503),
        },
    )
    def put(self, request: Request, pattern: str) -> HttpResponse:
        """Set the policy of a pattern as a whole; what is absent is cleared. Admin scope only."""
        require_admin(principal_of(request))
        name = parse_pattern(pattern)
        data = read_body(request._request, most=SINGLE_BYTES) if has_body(request._request) else b""
        body = decode_body(data, PolicyRules) if data else PolicyRules()
        return answer(policy_answer(set_policy(name, _columns(body))))

    @extend_schema(
        operation_id="policy_delete",
        summary="Delete a policy",
        parameters=[PATTERN],
        responses={204: None, **doc.refusals(400, 403, 404, 503)},
    )
    def delete(self, request: Request, pattern: str) -> HttpResponse:
        """Delete the policy of exactly this pattern. For the admin scope."""
        require_admin(principal_of(request))
        if not delete_policy(parse_pattern(pattern)):
            raise _no_policy(pattern)
        return HttpResponse(status=204)


def policy_answer(policy: Policy | TopicPolicy) -> PolicyBody:
    """Describe a policy by what is set in it."""
    assert policy.pattern is not None
    rules = {name: getattr(policy, name) for name in RULES}
    for name in TIMES:
        if rules[name] is not None:
            rules[name] *= 1000
    return PolicyBody(pattern=policy.pattern, **rules)


def _columns(body: PolicyRules) -> dict[str, int | bool | str | None]:
    rules = {name: getattr(body, name) for name in RULES}
    for name in TIMES:
        if rules[name] is not None:
            rules[name] //= 1000
    return rules


def _no_policy(pattern: str) -> NothingHere:
    return NothingHere(f"{pattern!r} has no policy; GET /api/v1/policies lists them.")
