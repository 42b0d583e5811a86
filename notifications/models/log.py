"""The log as a whole, and the partitions that it is cut into."""

from django.db import models


class Log(models.Model):
    """The one log of this deployment (one row, made by `migrate`).

    Its number of partitions is fixed for its life, because the partition of a topic follows from
    it; its epoch changes when offsets stop meaning what they meant (a reset, a restored backup).
    swept_before: messages published before it were purged, unless a policy keeps them longer;
    retention goes on from there.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    epoch = models.CharField(max_length=32)
    partition_count = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    swept_before = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name_plural = "log"
        constraints = (
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_log"),
            models.CheckConstraint(
                condition=models.Q(partition_count__gte=1), name="a_log_has_partitions"
            ),
        )

    def __str__(self) -> str:
        return f"epoch {self.epoch}, {self.partition_count} partitions"


class Partition(models.Model):
    """A sequence of messages with gapless offsets.

    head: the offset of the newest message, 0 when there was none. Whoever appends locks this row
    until the commit, so commit order is offset order.
    floor: the highest floor of its topics: who has come so far has missed nothing by purging.
    tracked: acknowledged delivery has been set up for the messages up to here.
    """

    id = models.PositiveSmallIntegerField(primary_key=True)
    head = models.BigIntegerField(default=0)
    floor = models.BigIntegerField(default=0)
    tracked = models.BigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(floor__gte=0, head__gte=models.F("floor")),
                name="floor_is_not_above_head",
            ),
        )

    def __str__(self) -> str:
        return f"partition {self.pk} at {self.head}"
