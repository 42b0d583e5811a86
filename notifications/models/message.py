"""Messages: the rows of the log."""

from django.db import models

from notifications.models.log import Partition
from notifications.models.topic import Topic


class Message(models.Model):
    """A durable message at its place in the log.

    payload, metadata: compact JSON text exactly as it is delivered, never parsed on the way to a
    subscriber (metadata is empty when there is none). Rows are written by notifications.log only.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    # The two foreign keys carry no constraint: rows are inserted under the partition's lock by
    # the statement that made the topic, and two constraint triggers a row cost a third of a batch.
    partition = models.ForeignKey(Partition, models.PROTECT, db_constraint=False, db_index=False)
    offset = models.BigIntegerField()
    topic = models.ForeignKey(Topic, models.PROTECT, db_constraint=False, db_index=False)
    seq = models.BigIntegerField()
    payload = models.TextField()
    metadata = models.TextField(blank=True, default="")
    publisher = models.CharField(max_length=64)
    published_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("partition", "offset")
        constraints = (
            models.UniqueConstraint(
                fields=("partition", "offset"), name="one_message_at_each_offset"
            ),
            models.UniqueConstraint(fields=("topic", "seq"), name="one_message_for_each_seq"),
            models.CheckConstraint(
                condition=models.Q(offset__gte=1, seq__gte=1), name="numbers_start_at_1"
            ),
        )
        indexes = (
            # What a client of few topics missed, without reading its whole partition.
            models.Index(fields=("topic", "offset"), name="messages_by_topic_and_offset"),
            models.Index(
                fields=("expires_at",),
                condition=models.Q(expires_at__isnull=False),
                name="messages_by_expiry",
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)
