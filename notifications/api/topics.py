"""GET /topics: which topics there are, and what was published to them."""

from typing import Annotated, Literal

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from notifications.api import documentation as doc
from notifications.api.bodies import decode_query
from notifications.api.endpoint import Endpoint, answer, principal_of
from notifications.api.policies import PolicyBody, policy_answer
from notifications.errors import UnknownTopic
from notifications.permissions import require_subscribe
from notifications.protocol.values import MAX_INTEGER, Record, Text
from notifications.selectors.messages import HistoryMessage, in_history, list_messages
from notifications.selectors.topics import TopicRow, find_topic, list_topics
from notifications.services.policies import policies
from notifications.topics.grammar import parse_pattern, parse_topic

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000

Seq = Annotated[
    int, msgspec.Meta(ge=0, le=MAX_INTEGER, description="a whole number, the seq of a message")
]
Limit = Annotated[
    int,
    msgspec.Meta(ge=1, le=MAX_LIMIT, description=f"a whole number from 1 to {MAX_LIMIT:,}"),
]
Order = Annotated[Literal["asc", "desc"], msgspec.Meta(description="asc or desc")]

TOPIC = doc.in_path("topic", "A topic, such as `user.123.orders`.", {"type": "string"})


class TopicsQuery(Record, frozen=True, kw_only=True):
    """The parameters of `GET /topics`."""

    pattern: Text | None = None
    after: Text | None = None


class MessagesQuery(Record, frozen=True, kw_only=True):
    """The parameters of `GET /topics/{topic}/messages`."""

    after: Seq | None = None
    before: Seq | None = None
    limit: Limit = DEFAULT_LIMIT
    order: Order = "asc"


class TopicAnswer(msgspec.Struct, frozen=True):
    """A topic that was published to.

    seq: the number of its newest message, and so how many it ever had.
    subscribers: subscriptions, of clients that are connected now, whose pattern matches it.
    policy: what applies to it; null where nothing does.
    """

    topic: str
    seq: int
    subscribers: int
    policy: PolicyBody | None


class TopicsPage(msgspec.Struct, frozen=True):
    """A page of topics."""

    topics: list[TopicAnswer]
    next: str | None


class MessagesPage(msgspec.Struct, frozen=True):
    """A page of a topic's history."""

    messages: list[HistoryMessage]
    next: int | None


class TopicsView(Endpoint):
    """GET /api/v1/topics."""

    @extend_schema(
        operation_id="topics",
        summary="List topics",
        parameters=doc.in_query(
            TopicsQuery,
            pattern="Only the topics that this pattern matches.",
            after="The `next` of the page before.",
        ),
        responses={200: doc.answered(TopicsPage), **doc.refusals(400, 503)},
    )
    def get(self, request: Request) -> HttpResponse:
        """List, by pages of 100, the topics that were published to and that you may read."""
        query = decode_query(request.query_params, TopicsQuery)
        principal = principal_of(request)
        rows, following = list_topics(
            readable=None if principal.is_admin else principal.subscribe,
            pattern=parse_pattern(query.pattern) if query.pattern is not None else None,
            after=parse_topic(query.after) if query.after is not None else None,
        )
        policies.refresh()
        return answer(TopicsPage([topic_answer(row) for row in rows], following))


class TopicView(Endpoint):
    """GET /api/v1/topics/{topic}."""

    @extend_schema(
        operation_id="topic",
        summary="Show a topic",
        parameters=[TOPIC],
        responses={200: doc.answered(TopicAnswer), **doc.refusals(400, 403, 404, 503)},
    )
    def get(self, request: Request, topic: str) -> HttpResponse:
        """Show a topic; 404 when nothing was ever published to it."""
        name = parse_topic(topic)
        require_subscribe(principal_of(request), name)
        row = find_topic(name=name)
        if row is None:
            raise UnknownTopic(f"Nothing was published to {name!r} yet.")
        policies.refresh()
        return answer(topic_answer(row))


class TopicMessagesView(Endpoint):
    """GET /api/v1/topics/{topic}/messages."""

    @extend_schema(
        operation_id="topic_messages",
        summary="Read a topic's history",
        parameters=[
            TOPIC,
            *doc.in_query(
                MessagesQuery,
                after="Only messages with a greater `seq`.",
                before="Only messages with a smaller `seq`.",
                limit="Most messages on the page; a page may be shorter.",
                order="By `seq`; `desc` begins with the newest.",
            ),
        ],
        responses={200: doc.answered(MessagesPage), **doc.refusals(400, 403, 503)},
    )
    def get(self, request: Request, topic: str) -> HttpResponse:
        """Read retained messages that have not expired. An unknown topic has none.

        `next` is what to pass as `after` (with `order=desc`: as `before`) for the next page, and
        null on the last one.
        """
        name = parse_topic(topic)
        require_subscribe(principal_of(request), name)
        query = decode_query(request.query_params, MessagesQuery)
        rows, following = list_messages(
            topic=name,
            after=query.after,
            before=query.before,
            limit=query.limit,
            newest_first=query.order == "desc",
            now=timezone.now(),
        )
        return answer(MessagesPage([in_history(name, row) for row in rows], following))


def topic_answer(row: TopicRow) -> TopicAnswer:
    """Describe a topic with the policy that applies to it."""
    policy = policies.of(row.name)
    return TopicAnswer(
        topic=row.name,
        seq=row.seq,
        subscribers=row.subscribers,
        policy=policy_answer(policy) if policy.pattern is not None else None,
    )
