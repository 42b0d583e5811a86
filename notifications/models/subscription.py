"""Subscriptions: what a client wants, kept by the server for it."""

import uuid

from django.conf import settings
from django.db import models


class Subscription(models.Model):
    """A topic or pattern that a client of a principal subscribed to; outlives its sockets.

    begin: offsets by partition (keys are decimal strings) where it begins: what was published
    at or before them is not its business. They count in `epoch`, the life of the log in which it
    was made; in a later one it has been there from the beginning.
    begun_by: the principal that began it over REST; empty where the client itself did.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    principal = models.CharField(max_length=64)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="notification_subscriptions",
    )
    client_id = models.CharField(max_length=128)
    pattern = models.CharField(max_length=255)
    options = models.JSONField(default=dict, blank=True)
    begin = models.JSONField(default=dict, blank=True)
    epoch = models.CharField(max_length=32, blank=True, default="")
    begun_by = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("principal", "client_id", "pattern"),
                name="one_subscription_for_each_pattern",
            ),
        )
        indexes = (models.Index(fields=("pattern",), name="subscriptions_by_pattern"),)

    def __str__(self) -> str:
        return f"{self.pattern} for {self.principal}"
