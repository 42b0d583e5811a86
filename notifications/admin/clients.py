"""Who is connected and what they want: sessions and subscriptions."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from notifications.admin.pages import (
    NOTHING,
    ViewOnlyAdmin,
    ago,
    badge,
    linked,
    listed,
    pretty_json,
    shortened,
)
from notifications.models import Session, Subscription
from notifications.services.outside_changes import end_subscriptions

_STATE_KINDS = {
    Session.State.CONNECTED: "good",
    Session.State.CONNECTING: "warn",
    Session.State.RECONNECTING: "warn",
    Session.State.DISCONNECTED: "idle",
}


class OpenFilter(admin.SimpleListFilter):
    """Sessions that may still be resumed, or not."""

    title = "can be resumed"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("yes", "Yes"), ("no", "No, it ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        """Narrow the list."""
        if self.value() in ("yes", "no"):
            return queryset.filter(ended_at__isnull=self.value() == "yes")
        return queryset


@admin.register(Session)
class SessionAdmin(ViewOnlyAdmin):
    """Clients and where they stand."""

    list_display = (
        "client",
        "who",
        "state_",
        "since_",
        "reason",
        "subscriptions",
        "on_server",
    )
    list_filter = (
        "state",
        OpenFilter,
        "client_kind",
        ("reason", admin.AllValuesFieldListFilter),
        ("server", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("user", "server")
    search_fields = ("client_id", "principal", "user__username")
    search_help_text = "Client id, principal (user:7, key:4f1a…) or user name"
    date_hierarchy = "since"
    sortable_by = ("since_",)
    fieldsets = (
        (None, {"fields": ("id", "state_", "since", "reason", "on_server")}),
        ("Who", {"fields": ("who", "principal", "client_id", "subscriptions")}),
        (
            "Program",
            {
                "fields": (
                    ("client_name", "client_version", "client_kind"),
                    "capabilities",
                    "last_disconnect_reason",
                    "attempt",
                )
            },
        ),
        (
            "Since it began",
            {"fields": ("created_at", "ended_at", "connects", "messages_sent")},
        ),
        ("Acknowledged", {"fields": ("acked_", "acked_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        """Bring the number of each client's subscriptions along, in the same query."""
        theirs = (
            Subscription.objects.filter(
                principal=OuterRef("principal"), client_id=OuterRef("client_id")
            )
            .order_by()
            .values("principal")
            .annotate(number=Count("pk"))
            .values("number")
        )
        number = Coalesce(Subquery(theirs, output_field=IntegerField()), 0)
        queryset: QuerySet[Session] = super().get_queryset(request)
        return queryset.annotate(subscription_count=number)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse here, but do not keep anybody from deleting a user, which takes these along."""
        match = request.resolver_match
        if match is None or (match.url_name or "").startswith("notifications_session_"):
            return False
        return request.user.has_perm("notifications.delete_session")

    @admin.display(description="client")
    def client(self, session: Session) -> SafeString:
        """Show the client's id, which may be long, and its program."""
        parts = (session.client_name, session.client_version, session.client_kind)
        program = " ".join(part for part in parts if part)
        return format_html("{}<br><small>{}</small>", shortened(session.client_id), program)

    @admin.display(description="user", ordering="principal")
    def who(self, session: Session) -> SafeString | str:
        """Show the user, or the principal of an API key."""
        return linked(session.user) if session.user is not None else session.principal

    @admin.display(description="state", ordering="state")
    def state_(self, session: Session) -> SafeString:
        """Show the state in its colour."""
        kind = _STATE_KINDS.get(Session.State(session.state), "idle")
        return badge(kind, session.get_state_display())

    @admin.display(description="since", ordering="since")
    def since_(self, session: Session) -> SafeString | str:
        """Show for how long."""
        return ago(session.since, now=timezone.now())

    @admin.display(description="server", ordering="server")
    def on_server(self, session: Session) -> SafeString | str:
        """Link to the server that holds or held the socket."""
        return linked(session.server)

    @admin.display(description="up to")
    def acked_(self, session: Session) -> SafeString | str:
        """Show the cursor of the client's last ack."""
        return _pretty(session.acked)

    @admin.display(description="subscriptions")
    def subscriptions(self, session: Session) -> SafeString:
        """Link to the subscriptions of this client."""
        return listed(
            Subscription,
            getattr(session, "subscription_count", 0),
            principal__exact=session.principal,
            client_id__exact=session.client_id,
        )


@admin.register(Subscription)
class SubscriptionAdmin(ViewOnlyAdmin):
    """What clients want; an operator may end a subscription, not invent one."""

    list_display = ("pattern", "who", "client", "created_at", "options")
    list_filter = ("created_at",)
    list_select_related = ("user",)
    search_fields = ("pattern__startswith", "client_id", "principal", "user__username")
    search_help_text = "Beginning of a pattern, client id, principal or user name"
    ordering = ("-created_at",)
    fields = (
        "id",
        "pattern",
        "who",
        "principal",
        "client",
        "created_at",
        "begun_by_",
        "options_",
        "begin_",
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let those who have Django's permission."""
        return request.user.has_perm("notifications.delete_subscription")

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        """End one."""
        self._drop(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        """End several."""
        self._drop(request, list(queryset))

    def _drop(self, request: HttpRequest, subscriptions: list[Subscription]) -> None:
        end_subscriptions(subscriptions, now=timezone.now())
        messages.info(request, "Clients that are connected now have been told.")

    @admin.display(description="user", ordering="principal")
    def who(self, subscription: Subscription) -> SafeString | str:
        """Show the user, or the principal of an API key."""
        return (
            linked(subscription.user) if subscription.user is not None else subscription.principal
        )

    @admin.display(description="client", ordering="client_id")
    def client(self, subscription: Subscription) -> SafeString:
        """Link to the sessions of this client."""
        return listed(
            Session,
            shortened(subscription.client_id),
            principal__exact=subscription.principal,
            client_id__exact=subscription.client_id,
        )

    @admin.display(description="options")
    def options_(self, subscription: Subscription) -> SafeString | str:
        """Show the options over several lines."""
        return _pretty(subscription.options)

    @admin.display(description="begun by")
    def begun_by_(self, subscription: Subscription) -> SafeString | str:
        """Show who began it; the client itself unless somebody did over REST."""
        return subscription.begun_by or NOTHING

    @admin.display(description="begins after")
    def begin_(self, subscription: Subscription) -> SafeString | str:
        """Show the offsets by partition."""
        return _pretty(subscription.begin)


def _pretty(value: Any) -> SafeString | str:
    return pretty_json(json.dumps(value)) if value else NOTHING
