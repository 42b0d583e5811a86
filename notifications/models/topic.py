"""Topics: made by the first message that is published to them."""

from django.db import models

from notifications.models.log import Partition


class Topic(models.Model):
    """A name that was published to, and how many messages it ever had.

    floor: the offset of the last of its messages that was purged before it expired; whoever had
    not come so far has missed something that the log cannot bring any more.
    purged_seq: everything at or below it has been purged.
    """

    name = models.CharField(max_length=255, unique=True)
    # No foreign key constraint: it would lock the partition row once more for every message.
    partition = models.ForeignKey(Partition, models.PROTECT, db_constraint=False)
    seq = models.BigIntegerField(default=0)
    floor = models.BigIntegerField(db_default=0)
    purged_seq = models.BigIntegerField(db_default=0)
    created_at = models.DateTimeField()
    last_published_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=models.Q(seq__gte=0), name="seq_is_not_negative"),
        )
        indexes = (
            models.Index(
                fields=("partition", "floor"),
                condition=models.Q(floor__gt=0),
                name="topics_by_floor",
            ),
        )

    def __str__(self) -> str:
        return self.name
