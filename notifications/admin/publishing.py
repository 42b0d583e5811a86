"""How messages are treated on their way in: topic policies and the outbox."""

from datetime import timedelta

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notifications.admin.pages import NOTHING, ViewOnlyAdmin, ago, badge, pretty_json
from notifications.models import PendingPublication, TopicPolicy
from notifications.services.sweeps import run_sweep


@admin.register(TopicPolicy)
class TopicPolicyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Policies: of several that match a topic the most specific applies."""

    list_display = (
        "pattern",
        "ephemeral",
        "acknowledged",
        "time_to_live",
        "kept_for",
        "retention_count",
        "payload_bytes",
    )
    list_filter = ("ephemeral", "acknowledged")
    search_fields = ("pattern",)
    fieldsets = (
        (
            None,
            {
                "fields": ("pattern", "ephemeral", "payload_bytes"),
                "description": "Of several policies whose patterns match a topic the most specific "
                "applies, as a whole. What is left empty is as the settings say. Servers follow a "
                "change within two seconds. Ephemeral messages are relayed to whoever is there and "
                "not kept, so they are never missed, replayed or delivered again.",
            },
        ),
        (
            "How long",
            {
                "fields": ("ttl", "idempotency"),
                "description": "After its TTL a message is not delivered any more. Within the "
                "idempotency window a retry with the same key is answered as the first publish "
                "was.",
            },
        ),
        (
            "What is kept",
            {
                "fields": ("retention", "retention_count", "retention_bytes"),
                "description": "A message is purged by the first of these that it exceeds. Whoever "
                "was away for longer is told that messages are missing.",
            },
        ),
        (
            "Delivery",
            {
                "fields": ("replay_messages", "batch_size", "batch_delay", "overflow"),
                "description": "Whoever missed more than the replay cap is told so instead. Live "
                "messages wait for others until the batch is full or its delay is over; those of "
                "high priority never wait. Overflow: what gives way when a connection does not "
                "keep up, of ephemeral topics; durable messages are never dropped.",
            },
        ),
        (
            "Acknowledgements",
            {
                "fields": ("acknowledged", "ack_timeout", "ack_attempts"),
                "description": "Messages are delivered again until they are acknowledged, later "
                "with each attempt; after the last they are marked undelivered.",
            },
        ),
    )

    @admin.display(description="TTL", ordering="ttl")
    def time_to_live(self, policy: TopicPolicy) -> str:
        """Show the time in hours, minutes and seconds."""
        return _time(policy.ttl)

    @admin.display(description="retention", ordering="retention")
    def kept_for(self, policy: TopicPolicy) -> str:
        """Show the time in days, hours, minutes and seconds."""
        return _time(policy.retention)


def _time(seconds: int | None) -> str:
    return str(timedelta(seconds=seconds)) if seconds is not None else NOTHING


@admin.register(PendingPublication)
class PendingPublicationAdmin(ViewOnlyAdmin):
    """The outbox: committed with the caller's data, not yet in the log."""

    list_display = ("topic", "waits", "attempts", "next_attempt", "publisher", "last_error")
    list_filter = (("last_error", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("topic__startswith", "publisher__exact")
    search_help_text = "Beginning of a topic, or a whole publisher (user:7)"
    date_hierarchy = "created_at"
    actions = ("carry_on",)
    fieldsets = (
        (None, {"fields": ("topic", "pretty_payload", "pretty_metadata")}),
        ("Publication", {"fields": ("publisher", "created_at", "expires_at")}),
        ("Attempts", {"fields": ("attempts", "next_attempt_at", "last_error")}),
    )

    def has_carry_on_permission(self, request: HttpRequest) -> bool:
        """Let those who may change these rows by Django's permissions."""
        return request.user.has_perm("notifications.change_pendingpublication")

    @admin.action(
        description="Carry on now: append the selected publications", permissions=["carry_on"]
    )
    def carry_on(self, request: HttpRequest, queryset: QuerySet[PendingPublication]) -> None:
        """Make the rows due and run the outbox's sweep, which appends each exactly once."""
        now = timezone.now()
        rows = list(queryset)
        PendingPublication.objects.filter(pk__in=[row.pk for row in rows]).update(
            next_attempt_at=now
        )
        appended = run_sweep("outbox", now=now)
        for row in rows:
            self.log_change(request, row, "Carried on.")
        left = PendingPublication.objects.filter(pk__in=[row.pk for row in rows]).count()
        if left:
            messages.warning(
                request, f"{appended} appended; {left} of the selected wait on. See their errors."
            )
        else:
            messages.success(request, f"{appended} appended.")

    @admin.display(description="waits since", ordering="created_at")
    def waits(self, row: PendingPublication) -> SafeString | str:
        """Show how long it has waited."""
        return ago(row.created_at, now=timezone.now())

    @admin.display(description="next attempt", ordering="next_attempt_at")
    def next_attempt(self, row: PendingPublication) -> SafeString | str:
        """Show when it is tried again."""
        now = timezone.now()
        return (
            badge("warn", "due")
            if row.next_attempt_at <= now
            else ago(row.next_attempt_at, now=now)
        )

    @admin.display(description="payload")
    def pretty_payload(self, row: PendingPublication) -> SafeString | str:
        """Show the payload as text."""
        return pretty_json(row.payload)

    @admin.display(description="metadata")
    def pretty_metadata(self, row: PendingPublication) -> SafeString | str:
        """Show the metadata as text."""
        return pretty_json(row.metadata)
