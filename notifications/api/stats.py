"""GET /stats: the figures of the dashboard."""

from datetime import datetime

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from notifications.api import documentation as doc
from notifications.api.endpoint import Endpoint, answer
from notifications.log.records import to_ms
from notifications.protocol.instants import format_instant
from notifications.selectors.stats import read_stats


class ServerAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """A server process that has not stopped."""

    id: str
    connections: int
    started_at: str
    seen_at: str


class StatsAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The figures of the dashboard.

    connections: clients that are connected now.
    sessions: how many that have not ended are in each state.
    subscriptions: of clients that are connected now.
    topics: that were published to. messages: ever appended to the log.
    pending: publications in the outbox that wait to be appended.
    servers: those that have not stopped, with their connections.
    """

    connections: int
    sessions: dict[str, int]
    subscriptions: int
    topics: int
    messages: int
    pending: int
    servers: list[ServerAnswer]
    server_time: str


class StatsView(Endpoint):
    """GET /api/v1/stats."""

    @extend_schema(
        operation_id="stats",
        summary="Count connections, topics and messages",
        responses={200: doc.answered(StatsAnswer), **doc.refusals(503)},
    )
    def get(self, request: Request) -> HttpResponse:
        """Show the figures of the dashboard."""
        stats = read_stats()
        return answer(
            StatsAnswer(
                connections=stats.sessions["connected"],
                sessions=stats.sessions,
                subscriptions=stats.subscriptions,
                topics=stats.topics,
                messages=stats.messages,
                pending=stats.pending,
                servers=[
                    ServerAnswer(
                        row.id, row.connections, _instant(row.started_at), _instant(row.seen_at)
                    )
                    for row in stats.servers
                ],
                server_time=_instant(timezone.now()),
            )
        )


def _instant(moment: datetime) -> str:
    return format_instant(to_ms(moment))
