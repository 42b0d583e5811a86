"""The rows that appending writes and reads; instants are milliseconds since 1970."""

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """A message that is to be written.

    expires_at: 0 for never. key: None for none; digest and key_expires_at go with it.
    outbox_id: the outbox row that it comes from, without which it is not written; None for none.
    """

    id: str
    topic: str
    partition: int
    payload: str
    metadata: str
    publisher: str
    expires_at: int = 0
    key: str | None = None
    digest: bytes = b""
    key_expires_at: int = 0
    outbox_id: int | None = None


class Place(NamedTuple):
    """Where a message was written: its offset in its partition, its seq in its topic."""

    offset: int
    seq: int


class KnownKey(NamedTuple):
    """The first answer that was given for a key."""

    digest: bytes
    message_id: str
    topic: str
    seq: int
    partition: int
    offset: int
    published_at: int


def places(
    rows: Sequence[Row],
    *,
    taken: Container[int],
    heads: Mapping[int, int],
    seqs: Mapping[str, int],
) -> list[Place | None]:
    """Number rows in their order; None for those whose outbox row was not taken.

    heads, seqs: the last number that each partition, each topic had before; 0 where none is given.
    """
    offsets, numbers = dict(heads), dict(seqs)
    found: list[Place | None] = []
    for row in rows:
        if row.outbox_id is not None and row.outbox_id not in taken:
            found.append(None)
            continue
        offset = offsets[row.partition] = offsets.get(row.partition, 0) + 1
        seq = numbers[row.topic] = numbers.get(row.topic, 0) + 1
        found.append(Place(offset, seq))
    return found
