"""Sessions: changed as their sockets come and go, ended, forgotten. opening.py opens them."""

import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection, transaction
from django.db.models import Field, Q

from notifications.conf import conf
from notifications.models import Session, Subscription

State = Session.State

OPEN_STATES = (State.CONNECTING, State.CONNECTED)
"""The states of a session that has a socket."""

FORGET_BATCH = 200
"""Sessions that one transaction forgets."""

# In SQL, as all that every connect goes through: the ORM takes ten times as long for a row.
_LOCK = "SELECT id FROM notifications_session WHERE id IN ({ids}) ORDER BY id FOR NO KEY UPDATE"
_RECORD = """
WITH said (id, server_id, connects, state, reason, since, messages_sent, ended) AS (VALUES {said})
UPDATE notifications_session
SET state = said.state, reason = said.reason, since = said.since,
    messages_sent = said.messages_sent, ended_at = CASE WHEN said.ended THEN said.since END
FROM said
WHERE notifications_session.id = said.id
    AND notifications_session.server_id = said.server_id
    AND notifications_session.connects = said.connects
    AND notifications_session.ended_at IS NULL
"""


@dataclass(slots=True, kw_only=True)
class SessionChange:
    """What happened to a session on the server that holds its socket.

    connects: tells this socket from those before and after it.
    """

    handle: uuid.UUID
    server_id: str
    connects: int
    state: str
    reason: str
    since: datetime
    messages_sent: int = 0
    ended: bool = field(default=False)


def record_changes(changes: Sequence[SessionChange]) -> None:
    """Write what happened to sessions of this server, in order, in one transaction.

    A session that ended, or that another server has meanwhile, is left alone: a late report
    must not overwrite what is true now.
    """
    last: dict[tuple[uuid.UUID, str, int], SessionChange] = {}
    for change in changes:
        of_socket = (change.handle, change.server_id, change.connects)
        if (before := last.get(of_socket)) is None or not before.ended:
            last[of_socket] = change
    if not last:
        return
    uuid_of, moment_of = prepared("id"), prepared("since")
    rows = [
        (
            uuid_of(change.handle),
            change.server_id,
            change.connects,
            change.state,
            change.reason,
            moment_of(change.since),
            change.messages_sent,
            change.ended,
        )
        for change in last.values()
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.features.has_select_for_update:
            # In one order, so that two who write do not wait for each other.
            ids = [row[0] for row in rows]
            cursor.execute(_LOCK.format(ids=", ".join(["%s"] * len(ids))), ids)
        cursor.execute(_RECORD.format(said=places(rows)), [value for row in rows for value in row])


def prepared(field: str) -> Callable[[Any], Any]:
    """Return what makes a value of one of a session's columns fit for the database driver."""
    column: Field[Any, Any] = Session._meta.get_field(field)  # type: ignore[assignment]
    return lambda value: column.get_db_prep_value(value, connection)


def places(rows: Sequence[Sequence[Any]]) -> str:
    """Return the places of rows of values, for VALUES."""
    return ", ".join([f"({', '.join(['%s'] * len(rows[0]))})"] * len(rows))


def ended_lately(server_id: str, *, since: datetime) -> dict[uuid.UUID, str]:
    """Return the sessions of a server that ended at an instant or after it, and why.

    Whoever ends a session tells its server over the bus. This is what the server finds when the
    bus lost that.
    """
    ended = Session.objects.filter(server_id=server_id, ended_at__gte=since)
    return dict(ended.values_list("pk", "reason"))


def taken_lately(server_id: str, *, since: datetime) -> dict[uuid.UUID, int]:
    """Return the sessions that newer sockets took from a server at an instant or after it.

    The number says how many sockets a session has had: those with a smaller one are over. This
    too is for what the bus lost.
    """
    taken = Session.objects.filter(taken_from=server_id, taken_at__gte=since)
    return dict(taken.values_list("pk", "connects"))


def forget_ended_sessions(*, now: datetime) -> int:
    """Delete the sessions that ended as long ago as one can be resumed; return how many.

    With the last session of a client go its subscriptions: a browser tab that was closed never
    comes back under its client id, and what it had subscribed to must not be kept for ever.
    """
    old = Session.objects.filter(ended_at__lt=now - timedelta(seconds=conf().session))
    forgotten = 0
    # In steps: one statement for all could run into its timeout, and never get anywhere.
    while batch := list(old.order_by("ended_at")[:FORGET_BATCH]):
        with transaction.atomic():
            forgotten += Session.objects.filter(pk__in=[row.pk for row in batch]).delete()[0]
            _forget_subscriptions({(row.principal, row.client_id) for row in batch}, now=now)
    return forgotten


def _forget_subscriptions(clients: set[tuple[str, str]], *, now: datetime) -> None:
    """Delete the subscriptions of those clients that have no session any more.

    Whoever opens one meanwhile must not be told of subscriptions that then are gone. So we take
    what opening takes: the client's one open session. Who has one, committed or not, keeps us out;
    who comes now waits for us, and reads the subscriptions afterwards.
    """
    there = Session.objects.filter(_of(clients)).values_list("principal", "client_id")
    taken = [
        Session(
            principal=principal,
            client_id=client_id,
            secret_digest=secrets.token_hex(32),  # of no secret, so nobody can resume it
            state=State.DISCONNECTED,
            since=now,
            created_at=now,
        )
        for principal, client_id in sorted(clients - set(there))  # in the order of opening
    ]
    if not taken:
        return
    Session.objects.bulk_create(taken, ignore_conflicts=True)
    ours = Session.objects.filter(pk__in=[row.pk for row in taken])
    if gone := set(ours.values_list("principal", "client_id")):
        Subscription.objects.filter(_of(gone)).delete()
    ours.delete()


def _of(clients: Iterable[tuple[str, str]]) -> Q:
    """Return the condition that a row is of one of some clients."""
    rows = (Q(principal=principal, client_id=client_id) for principal, client_id in clients)
    return reduce(or_, rows)


def end_unresumed_sessions(*, now: datetime) -> int:
    """End the sessions whose clients did not come back in time; return how many."""
    return Session.objects.filter(
        state__in=(State.RECONNECTING, State.DISCONNECTED),
        ended_at__isnull=True,
        since__lt=now - timedelta(seconds=conf().session),
    ).update(state=State.DISCONNECTED, reason="expired", since=now, ended_at=now)
