"""Idempotency keys: what a publisher already published under a key."""

from django.db import models


class IdempotencyKey(models.Model):
    """The first answer given for (publisher, key), kept so that a retry gets the same one.

    It stands apart from the message because it must outlive it: messages expire and are purged
    by their topic's policy, keys are kept for their own window, until `expires_at`.
    """

    publisher = models.CharField(max_length=64)
    key = models.CharField(max_length=128)
    digest = models.BinaryField(max_length=32)  # SHA-256 of the body as a JSON value
    message_id = models.UUIDField()
    topic = models.CharField(max_length=255)
    seq = models.BigIntegerField()
    partition = models.PositiveSmallIntegerField()
    offset = models.BigIntegerField()
    published_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("publisher", "key"), name="one_message_for_each_key"),
        )

    def __str__(self) -> str:
        return f"{self.publisher} {self.key}"
