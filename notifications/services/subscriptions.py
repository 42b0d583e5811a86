"""Subscriptions: added and removed by their clients, kept by the server."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.principal import Principal
from notifications.errors import AlreadySubscribed, TooManySubscriptions, UnknownSubscription
from notifications.models import Subscription
from notifications.permissions import require_subscribe
from notifications.services.disconnecting import tell_servers
from notifications.topics.grammar import is_pattern, parse_pattern

MAX_SUBSCRIPTIONS = 100
"""Subscriptions that a client may hold."""

MAX_PATTERNS = 16
"""Of these, how many may be patterns: each costs a part of every message's match."""


ENDED_AT_ONCE = 200
"""Subscriptions that one message to the servers names."""


def check_subscription(principal: Principal, topic: str) -> str:
    """Return the pattern if its grammar is right and the principal may subscribe to it.

    Raises BadTopic, Forbidden.
    """
    pattern = parse_pattern(topic)
    require_subscribe(principal, pattern)
    return pattern


def add_subscription(
    principal: Principal,
    *,
    client_id: str,
    pattern: str,
    options: Mapping[str, Any],
    begin: Mapping[str, int],
    epoch: str,
    now: datetime,
) -> Subscription:
    """Keep a subscription of a client; check it first.

    begin: offsets by partition, in the epoch given; what lies at or before them is not wanted.

    Raises AlreadySubscribed (data.subscriptionId names the one that exists) and
    TooManySubscriptions.
    """
    mine = Subscription.objects.filter(principal=principal.id, client_id=client_id)
    held = {row.pattern: row.pk for row in mine.only("pattern")}
    if pattern in held:
        raise _already(held[pattern])
    if len(held) >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(
            f"This client has {len(held)} subscriptions; unsubscribe from some, or use a pattern."
        )
    patterns = sum(1 for other in held if is_pattern(other))
    if is_pattern(pattern) and patterns >= MAX_PATTERNS:
        raise TooManySubscriptions(
            f"This client has {patterns} patterns; unsubscribe from some, or use a wider one."
        )
    try:
        with transaction.atomic():
            return Subscription.objects.create(
                principal=principal.id,
                user_id=principal.user_id,
                client_id=client_id,
                pattern=pattern,
                options=dict(options),
                begin=dict(begin),
                epoch=epoch,
                created_at=now,
            )
    except IntegrityError:
        raise _already(mine.get(pattern=pattern).pk) from None


def remove_subscription(principal: Principal, *, client_id: str, subscription_id: str) -> str:
    """Forget a subscription of a client and return its pattern; raises UnknownSubscription."""
    row = _mine(principal, client_id, [subscription_id]).first()
    if row is None:
        raise UnknownSubscription(
            f"This client has no subscription {subscription_id!r}. "
            "auth_success lists those that it has."
        )
    row.delete()
    return row.pattern


def drop_subscriptions(subscriptions: Iterable[Subscription]) -> None:
    """Forget subscriptions whose grant is gone."""
    Subscription.objects.filter(pk__in=[row.pk for row in subscriptions]).delete()


def end_subscriptions(subscriptions: Sequence[Subscription]) -> None:
    """End subscriptions from the server's side; clients that are connected hear of it at once."""
    drop_subscriptions(subscriptions)
    for start in range(0, len(subscriptions), ENDED_AT_ONCE):
        chunk = subscriptions[start : start + ENDED_AT_ONCE]
        tell_servers({"dropped": [str(row.pk) for row in chunk]})


def verify_subscriptions(
    principal: Principal, *, client_id: str, subscription_ids: list[str]
) -> tuple[list[str], list[str]]:
    """Split ids into those that this client holds and those that it does not."""
    known = {str(row.pk) for row in _mine(principal, client_id, subscription_ids)}
    active = [one for one in subscription_ids if one in known]
    return active, [one for one in subscription_ids if one not in known]


def _mine(principal: Principal, client_id: str, ids: list[str]) -> QuerySet[Subscription]:
    valid = []
    for text in ids:
        try:
            valid.append(uuid.UUID(text))
        except ValueError:
            continue  # no id of ours, so no subscription
    return Subscription.objects.filter(pk__in=valid, principal=principal.id, client_id=client_id)


def _already(subscription_id: uuid.UUID) -> AlreadySubscribed:
    return AlreadySubscribed(
        "This client is subscribed to this pattern already; data.subscriptionId names it.",
        data={"subscriptionId": str(subscription_id)},
    )
