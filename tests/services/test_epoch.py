"""A new epoch after a restore."""

import pytest

from notifications.log.append import append
from notifications.log.creation import read_identity
from notifications.models import Log, Partition, Topic
from notifications.services.epoch import begin_epoch
from tests.commands.calling import call
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_new_epoch_begins_at_the_heads() -> None:
    append([publication("a.b", n) for n in range(3)])
    topic = Topic.objects.get()
    Topic.objects.update(floor=7)  # of rows that the backup does not have
    Partition.objects.update(tracked=9)
    before = read_identity()
    old, new = begin_epoch()
    assert (old, new) == (before.epoch, Log.objects.get().epoch)
    assert old != new
    assert read_identity().partition_count == before.partition_count
    assert Topic.objects.get().floor == 3
    tracked = dict(Partition.objects.values_list("pk", "tracked"))
    assert tracked.pop(topic.partition_id) == 3
    assert set(tracked.values()) == {0}


def test_floors_below_the_head_stay() -> None:
    append([publication("a.b", n) for n in range(3)])
    Topic.objects.update(floor=2)
    Partition.objects.filter(head=3).update(floor=2)
    begin_epoch()
    assert Topic.objects.get().floor == 2
    assert Partition.objects.get(head=3).floor == 2


def test_the_command_prints_both() -> None:
    old = Log.objects.get().epoch
    assert call("new_epoch") == f"old {old}\nnew {Log.objects.get().epoch}\n"
