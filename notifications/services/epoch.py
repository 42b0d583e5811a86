"""A new epoch: the log begins a new life, because its offsets stopped meaning what they meant.

After a backup was restored, offsets that were given out before are given out again, to other
messages. Clients hold cursors from before; the new epoch tells them so, and they say that they
missed something instead of silently skipping it.
"""

from django.db import transaction
from django.db.models import F

from notifications.log.creation import fresh_epoch
from notifications.models import Log, Partition, Topic


def begin_epoch() -> tuple[str, str]:
    """Give the log a new epoch; return the old and the new one.

    Acknowledged delivery begins anew at the heads, and floors above a head come down to it.
    Servers that are running notice within seconds and tell their clients.
    """
    with transaction.atomic():
        log = Log.objects.select_for_update().get()
        # Nobody appends meanwhile: what follows is compared with the heads as they are.
        heads = dict(Partition.objects.select_for_update().order_by("pk").values_list("pk", "head"))
        old, log.epoch = log.epoch, fresh_epoch()
        log.save(update_fields=["epoch"])
        Partition.objects.update(tracked=F("head"))
        Partition.objects.filter(floor__gt=F("head")).update(floor=F("head"))
        for partition, head in heads.items():
            Topic.objects.filter(partition=partition, floor__gt=head).update(floor=head)
        return old, log.epoch
