"""Figures: the state of the deployment in a few numbers."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, Sum

from notifications.models import Partition, PendingPublication, Server, Session, Topic
from notifications.selectors.subscriptions import connected_subscriptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """A server that has not stopped. connections: sessions connected to it."""

    id: str
    started_at: datetime
    seen_at: datetime
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The figures of the dashboard.

    sessions: how many that have not ended are in each state.
    subscriptions: of clients that are connected now.
    messages: ever appended to the log.
    pending: publications in the outbox.
    """

    sessions: dict[str, int]
    subscriptions: int
    topics: int
    messages: int
    pending: int
    servers: tuple[ServerRow, ...]


def read_stats() -> Stats:
    """Count; six queries, whatever the number of servers."""
    states = dict(
        Session.objects.filter(ended_at__isnull=True)
        .order_by()
        .values_list("state")
        .annotate(Count("pk"))
    )
    connected = Q(sessions__state=Session.State.CONNECTED, sessions__ended_at__isnull=True)
    servers = (
        Server.objects.filter(stopped_at__isnull=True)
        .annotate(connections=Count("sessions", filter=connected))
        .order_by("-started_at", "pk")
        .values_list("pk", "started_at", "seen_at", "connections")
    )
    return Stats(
        sessions={state.value: states.get(state.value, 0) for state in Session.State},
        subscriptions=connected_subscriptions().count(),
        topics=Topic.objects.count(),
        messages=Partition.objects.aggregate(total=Sum("head"))["total"] or 0,
        pending=PendingPublication.objects.count(),
        servers=tuple(
            ServerRow(id=pk, started_at=started_at, seen_at=seen_at, connections=connections)
            for pk, started_at, seen_at, connections in servers
        ),
    )
