"""Sessions: who is connected, who will come back, who is gone."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from notifications.models import Session, Subscription

PAGE = 100
"""Sessions on a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session with what its client is subscribed to.

    user: the user's name, or for an API key its principal, `key:<identifier>`.
    subscriptions: those in force, none once the session has ended.
    """

    session: Session
    user: str
    subscriptions: tuple[Subscription, ...]


def list_sessions(
    *,
    owner: str | None,
    user: str | None = None,
    state: str | None = None,
    server: str | None = None,
    after: tuple[datetime, uuid.UUID] | None = None,
    limit: int = PAGE,
) -> tuple[list[SessionRow], tuple[datetime, uuid.UUID] | None]:
    """Return a page of sessions, those that changed last first, and the next page's `after`.

    owner: only the sessions of this principal; None for all.
    user: a user's name or a principal. Two queries.
    """
    sessions = _visible(owner)
    if user is not None:
        sessions = sessions.filter(Q(user__username=user) | Q(principal=user))
    if state is not None:
        sessions = sessions.filter(state=state)
    if server is not None:
        sessions = sessions.filter(server=server)
    if after is not None:
        since, handle = after
        sessions = sessions.filter(Q(since__lt=since) | Q(since=since, pk__gt=handle))
    found = list(sessions.order_by("-since", "pk")[: limit + 1])
    page = found[:limit]
    last = page[-1] if len(found) > limit else None
    return _with_subscriptions(page), (last.since, last.pk) if last else None


def find_session(*, handle: uuid.UUID, owner: str | None) -> SessionRow | None:
    """Return a session, or None when there is none that the owner may see. Two queries."""
    rows = _with_subscriptions(list(_visible(owner).filter(pk=handle)))
    return rows[0] if rows else None


def _visible(owner: str | None) -> QuerySet[Session]:
    sessions = Session.objects.select_related("user")
    return sessions if owner is None else sessions.filter(principal=owner)


def _with_subscriptions(sessions: Sequence[Session]) -> list[SessionRow]:
    held: dict[tuple[str, str], list[Subscription]] = {
        (session.principal, session.client_id): []
        for session in sessions
        if session.ended_at is None
    }
    if held:
        # Two INs instead of pairs: what another client of these principals holds is left out
        # below, and the index on (principal, client_id) serves both.
        candidates = Subscription.objects.filter(
            principal__in={principal for principal, _ in held},
            client_id__in={client_id for _, client_id in held},
        )
        for row in candidates:
            if (mine := held.get((row.principal, row.client_id))) is not None:
                mine.append(row)
    return [
        SessionRow(
            session=session,
            user=session.user.username if session.user else session.principal,
            subscriptions=(
                tuple(held[session.principal, session.client_id])
                if session.ended_at is None
                else ()
            ),
        )
        for session in sessions
    ]
