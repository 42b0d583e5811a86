"""Acknowledged delivery: what still waits, what was given up, what servers give once more."""

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notifications.admin.pages import ViewOnlyAdmin, ago, badge, linked, listed, shortened
from notifications.models import Delivery, Message, Redelivery

_STATE_KINDS = {
    Delivery.State.PENDING: "warn",
    Delivery.State.ACKNOWLEDGED: "good",
    Delivery.State.UNDELIVERED: "bad",
}


@admin.register(Delivery)
class DeliveryAdmin(ViewOnlyAdmin):
    """Messages whose policy asks for acknowledgements, one row for each session.

    An acknowledgement is seen here when the delivery is due next, not at once.
    """

    list_display = ("in_topic", "message", "to", "state_", "reason", "attempts", "since_", "next_")
    list_filter = ("state", ("reason", admin.AllValuesFieldListFilter))
    list_select_related = ("session",)
    sortable_by = ("since_",)
    search_fields = ("topic__startswith",)
    search_help_text = "Beginning of a topic, or the id of a message"
    fieldsets = (
        (None, {"fields": ("in_topic", "message", "position", "publisher", "to")}),
        ("State", {"fields": ("state_", "reason", "attempts", "since", "next_attempt_at")}),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for a message's id as a whole, for a topic by its beginning."""
        term = search_term.strip()
        try:
            return queryset.filter(message_id=uuid.UUID(term)), False
        except ValueError:
            return queryset.filter(topic__startswith=term), False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse here, but do not keep anybody from deleting a user, which takes these along."""
        return _along_with_others(request, "delivery")

    @admin.display(description="topic")
    def in_topic(self, delivery: Delivery) -> SafeString:
        """Link to the other deliveries of the topic."""
        return listed(Delivery, shortened(delivery.topic, 40), q=delivery.topic)

    @admin.display(description="message")
    def message(self, delivery: Delivery) -> SafeString | str:
        """Link to the message, which may have been purged."""
        return linked(Message(id=delivery.message_id), shortened(str(delivery.message_id), 13))

    @admin.display(description="to")
    def to(self, delivery: Delivery) -> SafeString | str:
        """Link to the session."""
        session = delivery.session
        return linked(session, shortened(f"{session.principal} {session.client_id}", 40))

    @admin.display(description="state", ordering="state")
    def state_(self, delivery: Delivery) -> SafeString:
        """Show the state in its colour."""
        kind = _STATE_KINDS[Delivery.State(delivery.state)]
        return badge(kind, delivery.get_state_display())

    @admin.display(description="since", ordering="since")
    def since_(self, delivery: Delivery) -> SafeString | str:
        """Show for how long."""
        return ago(delivery.since, now=timezone.now())

    @admin.display(description="next look")
    def next_(self, delivery: Delivery) -> SafeString | str:
        """Show when it is looked at again."""
        return ago(delivery.next_attempt_at, now=timezone.now())

    @admin.display(description="position")
    def position(self, delivery: Delivery) -> str:
        """Show partition and offset."""
        return f"{delivery.partition}:{delivery.offset}"


@admin.register(Redelivery)
class RedeliveryAdmin(ViewOnlyAdmin):
    """What servers were asked to give once more within the last hour."""

    list_display = ("id", "topic", "range", "to", "asked")
    list_select_related = ("session",)
    ordering = ("-id",)
    sortable_by = ("id",)
    search_fields = ("topic__startswith",)
    search_help_text = "Beginning of a topic"
    fields = ("topic", "range", "to", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse here, but do not keep anybody from deleting a user, which takes these along."""
        return _along_with_others(request, "redelivery")

    @admin.display(description="positions")
    def range(self, row: Redelivery) -> str:
        """Show the partition with the first and the last offset."""
        first, last = row.after + 1, row.up_to
        return f"{row.partition}:{first}" + (f" to {last}" if last > first else "")

    @admin.display(description="to")
    def to(self, row: Redelivery) -> SafeString | str:
        """Link to the session, if it is for one only."""
        session = row.session
        if session is None:
            return "all subscribers"
        return linked(session, shortened(f"{session.principal} {session.client_id}", 40))

    @admin.display(description="asked for", ordering="created_at")
    def asked(self, row: Redelivery) -> SafeString | str:
        """Show how long ago."""
        return ago(row.created_at, now=timezone.now())


def _along_with_others(request: HttpRequest, model: str) -> bool:
    match = request.resolver_match
    if match is None or (match.url_name or "").startswith(f"notifications_{model}_"):
        return False
    return request.user.has_perm(f"notifications.delete_{model}")
