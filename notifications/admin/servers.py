"""What serves: server processes."""

from datetime import timedelta

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notifications.admin.pages import ViewOnlyAdmin, ago, badge, listed
from notifications.models import Server, Session
from notifications.services.servers import DEAD_AFTER
from notifications.services.sessions import OPEN_STATES


@admin.register(Server)
class ServerAdmin(ViewOnlyAdmin):
    """Server processes and what they hold."""

    list_display = ("id", "health", "sessions", "host", "pid", "started_", "seen_", "stopped_")
    list_filter = (("stopped_at", admin.EmptyFieldListFilter), "host")
    search_fields = ("id", "host")
    date_hierarchy = "started_at"
    fields = ("id", "health", "sessions", "host", "pid", "started_at", "seen_at", "stopped_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Server]:
        """Bring the number of open sessions along, in the same query."""
        queryset: QuerySet[Server] = super().get_queryset(request)
        is_open = Q(sessions__state__in=OPEN_STATES)
        return queryset.annotate(open_sessions=Count("sessions", filter=is_open))

    @admin.display(description="state", ordering="stopped_at")
    def health(self, server: Server) -> SafeString:
        """Say whether it is alive."""
        if server.stopped_at is not None:
            return badge("idle", "stopped")
        if timezone.now() - server.seen_at > timedelta(seconds=DEAD_AFTER):
            return badge("bad", "silent")
        return badge("good", "alive")

    @admin.display(description="open sessions", ordering="open_sessions")
    def sessions(self, server: Server) -> SafeString:
        """Link to the sessions with a socket on this server."""
        return listed(
            Session,
            getattr(server, "open_sessions", 0),
            server__id__exact=server.pk,
            state__in=",".join(OPEN_STATES),
        )

    @admin.display(description="started", ordering="started_at")
    def started_(self, server: Server) -> SafeString | str:
        """Show since when it runs."""
        return ago(server.started_at, now=timezone.now())

    @admin.display(description="stopped", ordering="stopped_at")
    def stopped_(self, server: Server) -> SafeString | str:
        """Show when it ended, or was taken for dead."""
        return ago(server.stopped_at, now=timezone.now())

    @admin.display(description="last sign of life", ordering="seen_at")
    def seen_(self, server: Server) -> SafeString | str:
        """Show when it was heard of last."""
        return ago(server.seen_at, now=timezone.now())
