"""Topics: made by the first message that is published to them."""

from django.db import models

from notifications.models.log import Partition


class Topic(models.Model):
    """A name that was published to, and how many messages it ever had."""

    name = models.CharField(max_length=255, unique=True)
    # No foreign key constraint: it would lock the partition row once more for every message.
    partition = models.ForeignKey(Partition, models.PROTECT, db_constraint=False)
    seq = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_published_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=models.Q(seq__gte=0), name="seq_is_not_negative"),
        )

    def __str__(self) -> str:
        return self.name
