"""Making the log: its one row, its partitions, its epoch."""

import secrets
from dataclasses import dataclass

from django.db import transaction

from notifications.conf import conf
from notifications.models import Log, Partition


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """What identifies a log for its life: its epoch and its number of partitions."""

    epoch: str
    partition_count: int


def make_log(*, using: str = "default") -> None:
    """Make the row of the log and its partitions unless they exist; safe to repeat."""
    with transaction.atomic(using=using):
        log, _ = Log.objects.using(using).get_or_create(
            id=1,
            defaults={"epoch": fresh_epoch(), "partition_count": conf().partitions},
        )
        Partition.objects.using(using).bulk_create(
            [Partition(id=number) for number in range(log.partition_count)],
            ignore_conflicts=True,
        )


def fresh_epoch() -> str:
    """Return a name for a new life of the log."""
    return "x" + secrets.token_hex(8)


def read_identity() -> LogIdentity:
    """Read the log's identity; raises Log.DoesNotExist before `migrate` has run."""
    log = Log.objects.get()
    return LogIdentity(epoch=log.epoch, partition_count=log.partition_count)
