"""The shapes in which messages enter the log and leave it."""

import os
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from notifications.errors import NotificationError


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """A validated message on its way into the log.

    payload, metadata: compact JSON as UTF-8 (metadata empty when there is none).
    expires_at: milliseconds since 1970, or 0.
    digest: SHA-256 of the body as a JSON value; needed with an idempotency key.
    key_window: seconds for which a retry with the key is answered as this publication is.
    outbox_id: the outbox row that this publication carries on; appending deletes it.
    ephemeral: it is relayed and not kept; its key has no effect.
    """

    topic: str
    partition: int
    payload: bytes
    metadata: bytes = b""
    urgent: bool = False
    expires_at: int = 0
    publisher: str = "system"
    idempotency_key: str | None = None
    digest: bytes = b""
    key_window: int = 86_400
    outbox_id: int | None = None
    ephemeral: bool = False


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message of the log. Instants are milliseconds since 1970; expires_at 0 means never.
    offset and seq are 0 for an ephemeral message, which is not in the log.

    Encoded as an array on the bus, where its payload stays the publisher's bytes.
    """

    partition: int
    offset: int
    id: str
    topic: str
    seq: int
    published_at: int
    payload: bytes
    metadata: bytes
    expires_at: int
    urgent: bool


class Appended(msgspec.Struct, frozen=True):
    """The outcome of a publication: where it stands, and whether it stood there before.

    seq and offset are 0 for an ephemeral message, which stands nowhere.
    """

    id: str
    topic: str
    seq: int
    partition: int
    offset: int
    published_at: int
    duplicate: bool = False


class Conflicting(msgspec.Struct, frozen=True):
    """The outcome of a publication whose idempotency key belongs to another body."""

    idempotency_key: str


class CarriedBefore(msgspec.Struct, frozen=True):
    """The outcome of an outbox row that somebody else appended meanwhile."""

    outbox_id: int


class Unwritten(msgspec.Struct, frozen=True):
    """The outcome of a publication of a batch that was not appended, though others of it were.

    error: what its publisher is told.
    """

    error: NotificationError


Outcome = Appended | Conflicting | CarriedBefore | Unwritten


def is_urgent(metadata: bytes) -> bool:
    """Tell whether metadata asks for delivery ahead of any batch window.

    Looks at the bytes: metadata is encoded by us, compact, and a quote inside one of its strings
    is escaped, so this text can only be the member itself.
    """
    return b'"priority":"high"' in metadata or b'"priority":"urgent"' in metadata


_VARIANT = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}
"""The first digit of a UUID's fourth group: two bits say which kind it is, two are random."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


def encode_records(records: Sequence[Record]) -> bytes:
    """Encode records for the bus."""
    return _encoder.encode(records)


def decode_records(data: bytes) -> list[Record]:
    """Decode what encode_records made; raises msgspec.DecodeError for anything else."""
    return _decoder.decode(data)


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_message_id(milliseconds: int) -> uuid.UUID:
    """Make a UUIDv7 (RFC 9562): 48 bits of time, then 74 random bits."""
    return uuid.UUID(new_message_ids(milliseconds, 1)[0])


def new_message_ids(milliseconds: int, count: int) -> list[str]:
    """Make so many UUIDv7 of one instant, as text."""
    time_digits = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    head = f"{time_digits[:8]}-{time_digits[8:]}-7"
    random = os.urandom(10 * count).hex()  # one call for all; 19 of 20 digits each are used
    ids = []
    for place in range(0, 20 * count, 20):
        digits = random[place : place + 20]
        ids.append(f"{head}{digits[:3]}-{_VARIANT[digits[3]]}{digits[4:7]}-{digits[7:19]}")
    return ids


def to_datetime(milliseconds: int) -> datetime:
    """Turn milliseconds since 1970 into an aware datetime, exactly."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def to_ms(moment: datetime) -> int:
    """Turn an aware datetime into milliseconds since 1970, exactly."""
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
