"""Subscriptions: those whose clients are there to be delivered to."""

from django.db.models import Exists, OuterRef, QuerySet

from notifications.models import Session, Subscription


def connected_subscriptions() -> QuerySet[Subscription]:
    """Return the subscriptions of clients that are connected now."""
    return Subscription.objects.filter(
        Exists(
            Session.objects.filter(
                principal=OuterRef("principal"),
                client_id=OuterRef("client_id"),
                state=Session.State.CONNECTED,
                ended_at__isnull=True,
            )
        )
    )
