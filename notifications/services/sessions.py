"""Sessions: opened by authentication, changed as their sockets come and go."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from accounts.principal import Principal
from notifications.conf import conf
from notifications.models import Session, Subscription

State = Session.State

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
    replaced: the handle of an older session of this client that was open on a server, or None.
    """

    handle: uuid.UUID
    secret: str
    subscriptions: tuple[Subscription, ...]
    replaced: uuid.UUID | None


@dataclass(slots=True, kw_only=True)
class SessionChange:
    """What happened to a session on the server that holds its socket."""

    handle: uuid.UUID
    server_id: str
    state: str
    reason: str
    since: datetime
    messages_sent: int = 0
    ended: bool = field(default=False)


def open_session(
    principal: Principal, client: ClientDescription, *, server_id: str, now: datetime
) -> OpenedSession:
    """Open a session for a client, ending the one that it had; read its subscriptions."""
    try:
        return _open_session(principal, client, server_id=server_id, now=now)
    except IntegrityError:
        # The same client authenticates twice at once: the other one came first, so end it.
        return _open_session(principal, client, server_id=server_id, now=now)


def _open_session(
    principal: Principal, client: ClientDescription, *, server_id: str, now: datetime
) -> OpenedSession:
    secret = secrets.token_urlsafe(24)
    with transaction.atomic():
        before = (
            Session.objects.select_for_update()
            .filter(principal=principal.id, client_id=client.client_id, ended_at__isnull=True)
            .first()
        )
        replaced = None
        if before is not None:
            if before.state in (State.CONNECTING, State.CONNECTED):
                replaced = before.pk
            Session.objects.filter(pk=before.pk).update(
                state=State.DISCONNECTED, reason="taken_over", since=now, ended_at=now
            )
        session = Session.objects.create(
            secret_digest=digest_of(secret),
            principal=principal.id,
            user_id=principal.user_id,
            client_id=client.client_id,
            state=State.CONNECTING,
            since=now,
            created_at=now,
            server_id=server_id,
            connects=before.connects + 1 if before is not None else 1,
            client_name=client.name,
            client_version=client.version,
            client_kind=client.kind,
            capabilities=list(client.capabilities),
            attempt=client.attempt,
            last_disconnect_reason=client.last_disconnect_reason,
        )
        subscriptions = tuple(
            Subscription.objects.filter(principal=principal.id, client_id=client.client_id)
        )
    return OpenedSession(
        handle=session.pk, secret=secret, subscriptions=subscriptions, replaced=replaced
    )


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
                pk=change.handle, server_id=change.server_id, ended_at__isnull=True
            ).update(
                state=change.state,
                reason=change.reason,
                since=change.since,
                messages_sent=change.messages_sent,
                **({"ended_at": change.since} if change.ended else {}),
            )


def ended_lately(server_id: str, *, now: datetime) -> dict[uuid.UUID, str]:
    """Return the sessions of a server that ended within the last minute, and why.

    Whoever ends a session tells its server over the bus. This is what the server finds when the
    bus lost that.
    """
    return dict(
        Session.objects.filter(
            server_id=server_id, ended_at__gte=now - timedelta(minutes=1)
        ).values_list("pk", "reason")
    )


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
