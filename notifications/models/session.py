"""Sessions: a client's connection state, which outlives its sockets."""

import uuid

from django.conf import settings
from django.db import models

from notifications.models.server import Server


class Session(models.Model):
    """What the server knows of one client of one principal.

    The primary key is a public handle that resumes nothing; the secret that does is kept as a
    digest. (principal, client_id) has one session that has not ended.

    connects: how many sockets it has had; tells the present one from those before it.
    taken_from, taken_at: the server whose open socket a newer one replaced last, and when.
    subscriptions_changed_at: when somebody else changed what the client is subscribed to, last.
    acked: the cursor (`epoch`, `offsets`) up to which the client says it has processed messages;
    empty until its first `ack`.
    """

    class State(models.TextChoices):
        """Where the client stands, in the words of the client libraries."""

        CONNECTING = "connecting"
        CONNECTED = "connected"
        RECONNECTING = "reconnecting"
        DISCONNECTED = "disconnected"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    secret_digest = models.CharField(max_length=64, unique=True, editable=False)
    principal = models.CharField(max_length=64)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="notification_sessions",
    )
    client_id = models.CharField(max_length=128)
    state = models.CharField(max_length=12, choices=State.choices, default=State.CONNECTING)
    reason = models.CharField(max_length=64, blank=True, default="")
    since = models.DateTimeField()
    # The row of a server may be swept away before its last sessions are.
    server = models.ForeignKey(
        Server, models.SET_NULL, null=True, blank=True, related_name="sessions"
    )
    connects = models.PositiveIntegerField(default=1)
    messages_sent = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    client_name = models.CharField(max_length=64, blank=True, default="")
    client_version = models.CharField(max_length=32, blank=True, default="")
    client_kind = models.CharField(max_length=16, blank=True, default="")
    capabilities = models.JSONField(default=list, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    last_disconnect_reason = models.CharField(max_length=64, blank=True, default="")
    taken_from = models.CharField(max_length=64, blank=True, default="")
    taken_at = models.DateTimeField(null=True, blank=True)
    subscriptions_changed_at = models.DateTimeField(null=True, blank=True)
    acked = models.JSONField(default=dict, blank=True)
    acked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-since",)
        constraints = (
            models.UniqueConstraint(
                fields=("principal", "client_id"),
                condition=models.Q(ended_at__isnull=True),
                name="one_open_session_for_each_client",
            ),
        )
        indexes = (
            models.Index(fields=("state", "since"), name="sessions_by_state"),
            models.Index(fields=("-since", "id"), name="sessions_by_since"),
            models.Index(fields=("ended_at", "server"), name="sessions_by_end"),
            models.Index(fields=("principal", "client_id"), name="sessions_by_client"),
            models.Index(fields=("taken_from", "taken_at"), name="sessions_by_takeover"),
            models.Index(
                fields=("server", "subscriptions_changed_at"),
                condition=models.Q(subscriptions_changed_at__isnull=False),
                name="sessions_by_outside_change",
            ),
        )

    def __str__(self) -> str:
        return f"{self.principal} {self.client_id}"
