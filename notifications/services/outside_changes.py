"""Subscriptions that others than their client begin and end: over REST, or in the admin.

The rows are the truth: a client that is away finds them when it resumes. Servers are told over the
bus, for those that are connected. Whatever the bus loses they find by the sessions'
`subscriptions_changed_at`.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.principal import Principal
from accounts.selectors import find_principal
from notifications.errors import Forbidden, NotificationError, UnknownSubscription
from notifications.log.read import LogState, read_state
from notifications.models import Session, Subscription
from notifications.permissions import may_subscribe
from notifications.recovery.cursor import named
from notifications.services.disconnecting import tell_servers
from notifications.services.subscriptions import (
    Addition,
    change_subscriptions,
    check_subscription,
    drop_subscriptions,
)
from notifications.topics.filters import parse_filter

ENDED_AT_ONCE = 200
"""Subscriptions that one message to the servers names."""


def begin_subscription(
    *, handle: uuid.UUID, topic: str, options: Mapping[str, Any], by: Principal, now: datetime
) -> Subscription | None:
    """Subscribe a session's client to a topic or pattern, from what is published after this on.

    options: as the `subscribe` frame has them, without what asks for a replay. by: who asks; both
    it and whose session it is must be granted the pattern. None when the session has ended.
    Raises BadTopic, BadFrame, Forbidden, AlreadySubscribed, TooManySubscriptions, Unavailable.
    Blocking; call it outside of the event loop.
    """
    pattern = check_subscription(by, topic)
    if options.get("filter") is not None:
        parse_filter(options["filter"])
    with transaction.atomic():
        session = _changed(handle, now)
        if session is None:
            return None
        owner = _owner(session, by, pattern, now)
        # After the session is locked: whoever resumes it now waits, and finds the subscription.
        log = read_state()
        addition = Addition(
            owner,
            session.client_id,
            pattern,
            options=options,
            begin=named(log.heads),
            epoch=log.epoch,
            at=now,
            begun_by=by.id,
        )
        (answer,) = change_subscriptions([addition])
        if isinstance(answer, NotificationError):
            raise answer
    tell_servers({"begun": str(handle), "at": now.isoformat()})
    return answer


def end_subscription(*, handle: uuid.UUID, subscription_id: str, now: datetime) -> None:
    """End a subscription of a session's client.

    Raises UnknownSubscription, also when the session has ended. Blocking, as the above.
    """
    with transaction.atomic():
        session = _changed(handle, now)
        row = None if session is None else _held(session, subscription_id)
        if row is None:
            raise UnknownSubscription(
                f"This session has no subscription {subscription_id!r}. "
                f"GET /api/v1/sessions/{handle} lists those that it has."
            )
        row.delete()
    tell_servers({"dropped": [subscription_id]})


def end_subscriptions(subscriptions: Sequence[Subscription], *, now: datetime) -> None:
    """End subscriptions of any clients; those that are connected hear of it at once."""
    for start in range(0, len(subscriptions), ENDED_AT_ONCE):
        chunk = subscriptions[start : start + ENDED_AT_ONCE]
        with transaction.atomic():
            # Other clients of these principals may be among them; they look, and find nothing.
            Session.objects.filter(
                principal__in={row.principal for row in chunk},
                client_id__in={row.client_id for row in chunk},
                ended_at__isnull=True,
            ).update(subscriptions_changed_at=now)
            drop_subscriptions(row.pk for row in chunk)
        tell_servers({"dropped": [str(row.pk) for row in chunk]})


def changed_lately(server_id: str, *, since: datetime) -> dict[uuid.UUID, datetime]:
    """Return the sessions of a server whose subscriptions others changed at an instant or after
    it, and when that was."""
    changed = Session.objects.filter(server_id=server_id, subscriptions_changed_at__gte=since)
    return {
        pk: at for pk, at in changed.values_list("pk", "subscriptions_changed_at") if at is not None
    }


def read_held(principal_id: str, client_id: str) -> tuple[list[Subscription], LogState]:
    """Return what a client holds, and how far the log was after that."""
    rows = list(Subscription.objects.filter(principal=principal_id, client_id=client_id))
    return rows, read_state()


def _changed(handle: uuid.UUID, now: datetime) -> Session | None:
    """Note the change in a session's row, and lock that; None when the session has ended."""
    of_session = Session.objects.filter(pk=handle, ended_at__isnull=True)
    if not of_session.update(subscriptions_changed_at=now):
        return None
    return Session.objects.get(pk=handle)


def _owner(session: Session, by: Principal, pattern: str, now: datetime) -> Principal:
    """Return whose session it is; raises Forbidden where that may not read the pattern.

    An operator may subscribe others to what they may read, and to nothing else.
    """
    owner = by if session.principal == by.id else find_principal(session.principal, now=now)
    if owner is None or not may_subscribe(owner, pattern):
        raise Forbidden(f"{session.principal} has no grant to read {pattern!r}. Grant it first.")
    return owner


def _held(session: Session, subscription_id: str) -> Subscription | None:
    try:
        pk = uuid.UUID(subscription_id)
    except ValueError:
        return None  # no id of ours, so no subscription
    return Subscription.objects.filter(
        pk=pk, principal=session.principal, client_id=session.client_id
    ).first()
