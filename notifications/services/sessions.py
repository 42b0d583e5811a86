"""Sessions: opened by authentication, changed as their sockets come and go."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from accounts.principal import Principal
from notifications.conf import conf
from notifications.models import Session, Subscription

State = Session.State

OPEN_STATES = (State.CONNECTING, State.CONNECTED)
"""The states of a session that has a socket."""

FORGET_BATCH = 200
"""Sessions that one transaction forgets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDescription:
    """What a client says of itself when it authenticates."""

    client_id: str
    name: str = ""
    version: str = ""
    kind: str = ""
    capabilities: tuple[str, ...] = ()
    attempt: int = 0
    last_disconnect_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session that has just been opened.

    secret: the `sessionId` of the protocol; only its digest is kept.
    connects: how many sockets the session has had, this one included.
    resumed: whether it is the session that the client asked for, and not a new one.
    replaced: the handle of the session whose socket this one takes over, its own when it was
    resumed; None where no socket was open.
    """

    handle: uuid.UUID
    secret: str
    connects: int
    resumed: bool
    subscriptions: tuple[Subscription, ...]
    replaced: uuid.UUID | None


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


def open_session(
    principal: Principal,
    client: ClientDescription,
    *,
    server_id: str,
    now: datetime,
    resume: str | None = None,
) -> OpenedSession:
    """Go on with the session that a client wants back, or open a new one; read its subscriptions.

    resume: the secret of that session. One that is unknown, expired, ended or another client's
    resumes nothing, and the session that the client had is ended.
    """
    try:
        return _open_session(principal, client, server_id=server_id, now=now, resume=resume)
    except IntegrityError:
        # The same client authenticates twice at once: the other one came first, so end it.
        return _open_session(principal, client, server_id=server_id, now=now, resume=resume)


def _open_session(
    principal: Principal,
    client: ClientDescription,
    *,
    server_id: str,
    now: datetime,
    resume: str | None,
) -> OpenedSession:
    with transaction.atomic():
        before = (
            Session.objects.select_for_update()
            .filter(principal=principal.id, client_id=client.client_id, ended_at__isnull=True)
            .first()
        )
        was_open = before is not None and before.state in OPEN_STATES
        fields: dict[str, Any] = {
            "state": State.CONNECTING,
            "reason": "",
            "since": now,
            "server_id": server_id,
            "connects": before.connects + 1 if before is not None else 1,
            "client_name": client.name,
            "client_version": client.version,
            "client_kind": client.kind,
            "capabilities": list(client.capabilities),
            "attempt": client.attempt,
            "last_disconnect_reason": client.last_disconnect_reason,
        }
        resumed = before is not None and resume is not None and _may_resume(before, resume, now)
        if resumed:
            assert before is not None
            assert resume is not None
            if was_open:
                fields |= {"taken_from": before.server_id or "", "taken_at": now}
            Session.objects.filter(pk=before.pk).update(**fields)
            handle, secret = before.pk, resume
        else:
            if before is not None:
                Session.objects.filter(pk=before.pk).update(
                    state=State.DISCONNECTED, reason="taken_over", since=now, ended_at=now
                )
            secret = secrets.token_urlsafe(24)
            handle = Session.objects.create(
                secret_digest=digest_of(secret),
                principal=principal.id,
                user_id=principal.user_id,
                client_id=client.client_id,
                created_at=now,
                **fields,
            ).pk
        subscriptions = tuple(
            Subscription.objects.filter(principal=principal.id, client_id=client.client_id)
        )
    return OpenedSession(
        handle=handle,
        secret=secret,
        connects=fields["connects"],
        resumed=resumed,
        subscriptions=subscriptions,
        replaced=before.pk if before is not None and was_open else None,
    )


def _may_resume(session: Session, secret: str, now: datetime) -> bool:
    if not secrets.compare_digest(session.secret_digest, digest_of(secret)):
        return False
    # The sweep that ends it may not have come by yet.
    away_since = now - timedelta(seconds=conf().session)
    return session.state in OPEN_STATES or session.since >= away_since


def digest_of(secret: str) -> str:
    """Return what is kept of a session's secret; 192 random bits need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def record_changes(changes: Sequence[SessionChange]) -> None:
    """Write what happened to sessions of this server, in order, in one transaction.

    A session that ended, or that another server has meanwhile, is left alone: a late report
    must not overwrite what is true now.
    """
    with transaction.atomic():
        for change in changes:
            Session.objects.filter(
                pk=change.handle,
                server_id=change.server_id,
                connects=change.connects,
                ended_at__isnull=True,
            ).update(
                state=change.state,
                reason=change.reason,
                since=change.since,
                messages_sent=change.messages_sent,
                **({"ended_at": change.since} if change.ended else {}),
            )


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
            clients = {(row.principal, row.client_id) for row in batch}
            for principal, client_id in clients:
                of_client = {"principal": principal, "client_id": client_id}
                if not Session.objects.filter(**of_client).exists():
                    Subscription.objects.filter(**of_client).delete()
    return forgotten


def end_unresumed_sessions(*, now: datetime) -> int:
    """End the sessions whose clients did not come back in time; return how many."""
    return Session.objects.filter(
        state__in=(State.RECONNECTING, State.DISCONNECTED),
        ended_at__isnull=True,
        since__lt=now - timedelta(seconds=conf().session),
    ).update(state=State.DISCONNECTED, reason="expired", since=now, ended_at=now)
