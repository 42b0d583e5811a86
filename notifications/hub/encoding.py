"""The frame of a message, made once for all who receive it."""

import msgspec

from notifications.log.records import Record
from notifications.protocol.instants import format_instant


class _Message(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="message", gc=False
):
    """protocol.frames.Message with its JSON parts left as the bytes that they are.

    The log keeps payload and metadata as the text that goes out, so no delivery parses them.
    """

    id: str
    topic: str
    payload: msgspec.Raw
    timestamp: str
    metadata: msgspec.Raw | None = None
    seq: int | None = None
    position: tuple[int, int] | None = None
    replayed: bool | None = None


_encode = msgspec.json.Encoder().encode


def encode_json(record: Record, *, replayed: bool = False) -> bytes:
    """Encode the `message` frame of a record for the JSON subprotocol."""
    return _encode(
        _Message(
            record.id,
            record.topic,
            msgspec.Raw(record.payload),
            format_instant(record.published_at),
            msgspec.Raw(record.metadata) if record.metadata else None,
            record.seq,
            (record.partition, record.offset),
            replayed or None,
        )
    )
