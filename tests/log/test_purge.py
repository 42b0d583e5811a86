"""Purging on the database in use: floors, what is left, crashes at each step."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.log import purge as purging
from notifications.log.append import append
from notifications.log.purge import (
    Stored,
    first_id_at,
    instant_of,
    over_bytes,
    purge,
    purge_expired,
    stored_between,
    stored_up_to,
)
from notifications.log.records import new_message_id
from notifications.models import Message, Partition, Topic
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC) + timedelta(minutes=1)
FOREVER = first_id_at(2**48 - 1)


def fill(*topics: str, **more: Any) -> list[Stored]:
    """Append a message to each of some topics; return the whole log in the order of offsets."""
    append([publication(topic, "x", **more) for topic in topics])
    rows = stored_between(first_id_at(0), FOREVER, limit=10_000)
    return sorted(rows, key=lambda row: (row.partition, row.offset))


def floors() -> dict[str, tuple[int, int]]:
    return {t.name: (t.floor, t.purged_seq) for t in Topic.objects.all()}


def test_ids_are_bounded_by_their_instant() -> None:
    one = new_message_id(1_700_000_000_000)
    assert first_id_at(1_700_000_000_000) <= one < first_id_at(1_700_000_000_001)
    assert instant_of(one) == 1_700_000_000_000


def test_floors_follow_what_is_purged() -> None:
    rows = fill("a.b.c", "a.b.d", "a.b.c", "a.b.d", "a.b.c")
    assert purge(rows[:3], now=NOW) == 3
    assert floors() == {"a.b.c": (3, 2), "a.b.d": (2, 1)}
    partition = Partition.objects.get(pk=rows[0].partition)
    assert (partition.floor, partition.head) == (3, 5)
    assert sorted(Message.objects.values_list("offset", flat=True)) == [4, 5]
    assert Partition.objects.exclude(pk=partition.pk).filter(floor__gt=0).count() == 0


def test_a_floor_never_falls() -> None:
    rows = fill("a", "a", "a")
    purge(rows[2:], now=NOW)
    assert floors() == {"a": (3, 0)}
    purge(rows[:1], now=NOW)
    assert floors() == {"a": (3, 1)}
    purge(rows[1:2], now=NOW)
    assert floors() == {"a": (3, 3)}, "nothing is left"


def test_expired_messages_go_without_moving_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "EXPIRED_BATCH", 2)
    later = int((NOW + timedelta(hours=1)).timestamp() * 1000)
    fill("a", "b", "a", expires_at=1_700_000_000_000)
    fill("c", expires_at=later)
    fill("d")
    assert list(purge_expired(now=NOW)) == [2, 1]
    assert set(Message.objects.values_list("topic__name", flat=True)) == {"c", "d"}
    assert {floor for floor, _ in floors().values()} == {0}
    assert not Partition.objects.filter(floor__gt=0).exists()


def test_purging_what_has_expired_moves_no_floor_either() -> None:
    purge(fill("a", expires_at=1_700_000_000_000), now=NOW)
    assert floors() == {"a": (0, 1)}


@pytest.mark.parametrize("step", ["_delete", "_note_gone"])
def test_a_crash_between_the_steps_is_harmless(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fill("a", "a", "a")

    def crash(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(purging, step, crash)
        with pytest.raises(KeyboardInterrupt):
            purge(rows[:2], now=NOW)
    assert floors() == {"a": (2, 0)}, "the floor is moved first, what is gone noted last"
    topic = Topic.objects.get()
    left = stored_up_to(topic.pk, 2, after=topic.purged_seq)
    assert left == (rows[:2] if step == "_delete" else [])
    purge(rows[:2], now=NOW)
    assert floors() == {"a": (2, 2)}
    assert Message.objects.get().seq == 3


def test_the_rows_are_deleted_without_a_partition_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fill("a")
    delete = purging._delete

    def append_meanwhile(ids: Any) -> int:
        append([publication("a", "y")])  # durable: refuses to run inside a transaction
        return delete(ids)

    monkeypatch.setattr(purging, "_delete", append_meanwhile)
    assert purge(rows, now=NOW) == 1
    assert Message.objects.get().seq == 2


def test_batches_bound_what_one_lock_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "BATCH", 2)
    sizes: list[int] = []
    delete = purging._delete

    def note(ids: Any) -> int:
        sizes.append(len(ids))
        return delete(ids)

    monkeypatch.setattr(purging, "_delete", note)
    assert purge(fill(*["a.b"] * 5), now=NOW) == 5
    assert sizes == [2, 2, 1]
    sizes.clear()
    assert purge(fill("a.b", "u.1", "u.2"), now=NOW) == 3
    assert sizes == [1, 1, 1], "each of another partition"


def test_bytes_are_counted_from_the_newest() -> None:
    append([publication("a", text) for text in ("xxxx", "ü", "yy", "z")])  # 6, 4, 4 and 3 bytes
    topic = Topic.objects.get()
    found = {most: over_bytes(topic.pk, most, after=0) for most in (17, 16, 11, 10, 3, 2)}
    assert found == {17: 0, 16: 1, 11: 1, 10: 2, 3: 3, 2: 4}
    assert over_bytes(topic.pk, 11, after=1) == 0
