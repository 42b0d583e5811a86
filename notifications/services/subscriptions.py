"""Subscriptions: added and removed by their clients, kept by the server."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from accounts.principal import Principal
from notifications import metrics
from notifications.database import DEADLINE
from notifications.errors import (
    AlreadySubscribed,
    NotificationError,
    TooManySubscriptions,
    UnknownSubscription,
)
from notifications.models import Subscription
from notifications.permissions import require_subscribe
from notifications.services.batches import Gathering, each_for_itself
from notifications.services.sessions import places
from notifications.topics.grammar import is_pattern, parse_pattern

MAX_SUBSCRIPTIONS = 100
"""Subscriptions that a client may hold."""

MAX_PATTERNS = 16
"""Of these, how many may be patterns: each costs a part of every message's match."""

CHANGES_BATCH = 200
"""Changes that one transaction makes."""

CHANGES_BOUND = 10_000
"""Changes that may wait; a connection asks for one at a time."""

_HELD = """
WITH asked (principal, client_id) AS (VALUES {asked})
SELECT held.id, held.principal, held.client_id, held.pattern
FROM asked JOIN notifications_subscription held
    ON held.principal = asked.principal AND held.client_id = asked.client_id
"""


def check_subscription(principal: Principal, topic: str) -> str:
    """Return the pattern if its grammar is right and the principal may subscribe to it.

    Raises BadTopic, Forbidden.
    """
    pattern = parse_pattern(topic)
    require_subscribe(principal, pattern)
    return pattern


class Addition(NamedTuple):
    """A subscription that a client wants kept; check it first.

    begin: offsets by partition, in the epoch given; what lies at or before them is not wanted.
    begun_by: the principal that asked for it over REST; empty where the client itself does.
    """

    principal: Principal
    client_id: str
    pattern: str
    options: Mapping[str, Any]
    begin: Mapping[str, int]
    epoch: str
    at: datetime
    begun_by: str = ""


class Removal(NamedTuple):
    """A subscription that a client wants no more."""

    principal: Principal
    client_id: str
    subscription_id: str


Change = Addition | Removal


class SubscriptionChanges(Gathering[Change, Subscription]):
    """What the clients of one server process subscribe to and unsubscribe from.

    Bound: CHANGES_BOUND. Policy: over it OVERLOADED. Metrics:
    bellwether_subscription_changes_waiting, bellwether_subscription_batch_size,
    bellwether_subscription_changes_refused.
    """

    def __init__(self) -> None:
        super().__init__(
            change_subscriptions,
            size=CHANGES_BATCH,
            bound=CHANGES_BOUND,
            deadline=DEADLINE,
            waiting=metrics.subscription_changes_waiting,
            batch_size=metrics.subscription_batch_size,
            refused=metrics.subscription_changes_refused,
        )


def change_subscriptions(
    batch: Sequence[Change],
) -> Sequence[Subscription | NotificationError]:
    """Add and remove subscriptions of clients, in their order; answer with each.

    Refusals: AlreadySubscribed (data.subscriptionId names the one that exists),
    TooManySubscriptions, UnknownSubscription.
    """
    return each_for_itself(_change, batch)


def _change(batch: Sequence[Change]) -> list[Subscription | NotificationError]:
    keys = sorted({(change.principal.id, change.client_id) for change in batch})
    answers: list[Subscription | NotificationError] = []
    added: list[Subscription] = []
    removed: list[uuid.UUID] = []
    with transaction.atomic():
        held = _held(keys)
        for change in batch:
            mine = held.setdefault((change.principal.id, change.client_id), {})
            try:
                if isinstance(change, Addition):
                    row = _added(change, mine)
                    mine[row.pattern] = row
                    added.append(row)
                else:
                    # Ids are told after their commit, so it is none that this batch adds.
                    row = _removed(change, mine)
                    del mine[row.pattern]
                    removed.append(row.pk)
                answers.append(row)
            except NotificationError as refusal:
                answers.append(refusal)
        # Before what is added: a pattern may be given up and asked for again.
        if removed:
            Subscription.objects.filter(pk__in=removed).delete()
        # In one order, so that two processes do not wait for each other's.
        Subscription.objects.bulk_create(
            sorted(added, key=lambda row: (row.principal, row.client_id, row.pattern))
        )
    return answers


def _held(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Subscription]]:
    """Return what clients hold, by pattern; only ids and patterns are read."""
    held: dict[tuple[str, str], dict[str, Subscription]] = {}
    rows = Subscription.objects.raw(
        _HELD.format(asked=places(keys)), [text for key in keys for text in key]
    )
    for row in rows:
        held.setdefault((row.principal, row.client_id), {})[row.pattern] = row
    return held


def _added(change: Addition, mine: Mapping[str, Subscription]) -> Subscription:
    if (row := mine.get(change.pattern)) is not None:
        raise AlreadySubscribed(
            "This client is subscribed to this pattern already; data.subscriptionId names it.",
            data={"subscriptionId": str(row.pk)},
        )
    if len(mine) >= MAX_SUBSCRIPTIONS:
        raise TooManySubscriptions(
            f"This client has {len(mine)} subscriptions; unsubscribe from some, or use a pattern."
        )
    patterns = sum(1 for other in mine if is_pattern(other))
    if is_pattern(change.pattern) and patterns >= MAX_PATTERNS:
        raise TooManySubscriptions(
            f"This client has {patterns} patterns; unsubscribe from some, or use a wider one."
        )
    return Subscription(
        principal=change.principal.id,
        user_id=change.principal.user_id,
        client_id=change.client_id,
        pattern=change.pattern,
        options=dict(change.options),
        begin=dict(change.begin),
        epoch=change.epoch,
        begun_by=change.begun_by,
        created_at=change.at,
    )


def _removed(change: Removal, mine: Mapping[str, Subscription]) -> Subscription:
    for row in mine.values():
        if str(row.pk) == change.subscription_id:
            return row
    raise UnknownSubscription(
        f"This client has no subscription {change.subscription_id!r}. "
        "auth_success lists those that it has."
    )


def find_subscription(subscription_id: str) -> Subscription | None:
    """Return a subscription by its id, or None."""
    return Subscription.objects.filter(pk=subscription_id).first()


def drop_subscriptions(subscription_ids: Iterable[uuid.UUID]) -> None:
    """Forget subscriptions whose grant is gone."""
    Subscription.objects.filter(pk__in=list(subscription_ids)).delete()


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
