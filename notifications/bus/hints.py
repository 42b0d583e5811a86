"""Hints: what the bus says about the log. They may be lost, repeated or late.

What waits to be sent goes out in as few envelopes as it can: a lone hint to the group of its
partition, several together as a bundle, to one group for all partitions when they are of more than
one. For an envelope costs the sender what forty small messages cost it otherwise.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from notifications.log.records import Record, decode_records, encode_records

EPHEMERAL = "ephemeral"
"""The type of the envelope of ephemeral messages; it has nothing else but `records`."""

BUNDLE = "log.bundle"
"""The type of the envelope of several hints."""

HINT_BYTES = 262_144
"""Bytes that one hint, or one bundle, carries at most; what is more goes out as several."""

ALL_PARTITIONS = "bellwether.partitions"
"""The group of all processes that follow any partition."""


def group_of(partition: int) -> str:
    """Name the group of a partition."""
    return f"bellwether.partition.{partition}"


class Hint(msgspec.Struct, frozen=True):
    """Consecutive messages of a partition, still encoded: most receivers can tell from the
    offsets alone whether they need them.

    first and last are 0 for ephemeral messages, which travel in an envelope of their own type and
    say nothing of the log. epoch: the life of the log that the offsets are of; a bus may bring
    hints of a past one, or of another log altogether.
    """

    epoch: str
    partition: int
    first: int
    last: int
    records: bytes

    def decode(self) -> list[Record]:
        """Decode the messages; raises msgspec.DecodeError when they are garbage."""
        return decode_records(self.records)


def hints_of(records: Sequence[Record], *, epoch: str) -> Iterator[Hint]:
    """Cut new records (offset order within each partition) of an epoch into hints."""
    batches: dict[tuple[int, bool], list[Record]] = {}
    for record in records:
        batches.setdefault((record.partition, record.offset == 0), []).append(record)
    for (partition, _), batch in batches.items():
        start = size = 0
        for index, record in enumerate(batch):
            if size and size + len(record.payload) > HINT_BYTES:
                yield _hint(epoch, partition, batch[start:index])
                start, size = index, 0
            size += len(record.payload)
        yield _hint(epoch, partition, batch[start:])


def _hint(epoch: str, partition: int, records: list[Record]) -> Hint:
    return Hint(epoch, partition, records[0].offset, records[-1].offset, encode_records(records))


def to_envelope(hint: Hint) -> dict[str, Any]:
    """Make the channel-layer message of a hint."""
    if hint.last == 0:
        return {"type": EPHEMERAL, "records": hint.records}
    return {
        "type": "log.appended",
        "epoch": hint.epoch,
        "partition": hint.partition,
        "first": hint.first,
        "last": hint.last,
        "records": hint.records,
    }


def take_envelope(waiting: deque[Hint]) -> tuple[str, dict[str, Any], list[Hint]]:
    """Take from the left what fits one envelope, one hint at least.

    Returns the group to send to, the envelope, and what is in it.
    """
    taken = [waiting.popleft()]
    size = len(taken[0].records)
    while waiting and size + len(waiting[0].records) <= HINT_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1].records)
    partition = taken[0].partition
    if len(taken) == 1:
        return group_of(partition), to_envelope(taken[0]), taken
    is_of_one = all(hint.partition == partition for hint in taken)
    hints = [[hint.epoch, hint.partition, hint.first, hint.last, hint.records] for hint in taken]
    group = group_of(partition) if is_of_one else ALL_PARTITIONS
    return group, {"type": BUNDLE, "hints": hints}, taken


def hints_in(bundle: dict[str, Any]) -> list[Hint]:
    """Read a bundle; raises msgspec.ValidationError when it is none."""
    hints = msgspec.convert(bundle.get("hints"), list[tuple[str, int, int, int, bytes]])
    return [Hint(*hint) for hint in hints]


def from_envelope(envelope: dict[str, Any]) -> Hint:
    """Read a channel-layer message; raises msgspec.ValidationError when it is no hint."""
    return msgspec.convert(envelope, Hint)
