"""Hints: what the bus says about the log. They may be lost, repeated or late."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from notifications.log.records import Record, decode_records, encode_records

EPHEMERAL = "ephemeral"
"""The type of the envelope of ephemeral messages; it has nothing else but `records`."""

HINT_BYTES = 262_144
"""Payload bytes that one hint carries at most; a larger batch goes out as several."""


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


def from_envelope(envelope: dict[str, Any]) -> Hint:
    """Read a channel-layer message; raises msgspec.ValidationError when it is no hint."""
    return msgspec.convert(envelope, Hint)
