"""The outbox: publications that were committed with the caller's data and not appended yet."""

from django.db import models
from django.utils import timezone


class PendingPublication(models.Model):
    """A publication that publish_on_commit() wrote in the caller's transaction.

    The transaction that appends it deletes it, so it is appended exactly once whoever carries it
    on: the process that wrote it, right after its commit, or a sweep if that process died.
    """

    topic = models.CharField(max_length=255)
    payload = models.TextField()
    metadata = models.TextField(blank=True, default="")
    publisher = models.CharField(max_length=64)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")
    next_attempt_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(fields=("next_attempt_at",), name="pending_by_next_attempt"),)

    def __str__(self) -> str:
        return f"{self.topic} since {self.created_at:%Y-%m-%d %H:%M:%S}"
