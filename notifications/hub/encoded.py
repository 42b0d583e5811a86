"""An encoded frame: made once, and shared by every connection that it goes to."""

from notifications.log.records import Record
from notifications.protocol.codec import JsonCodec

_codec = JsonCodec()


class Encoded:
    """The bytes of one frame in the forms that transports want, each made when first wanted.

    data: the frame as its codec wrote it (UTF-8 text of a text codec).
    size: bytes that it takes in a buffer.
    expires_at: milliseconds since 1970 after which it must not be sent any more; 0 for never.
    """

    __slots__ = ("_framed", "_text", "data", "expires_at", "size")

    def __init__(self, data: bytes, *, expires_at: int = 0) -> None:
        self.data = data
        self.size = len(data)
        self.expires_at = expires_at
        self._framed: bytes | None = None
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The frame as text, for servers that do the framing themselves."""
        if self._text is None:
            self._text = self.data.decode()
        return self._text

    @property
    def framed(self) -> bytes:
        """The frame as one WebSocket text message on the wire (RFC 6455, section 5.2).

        What a server sends is not masked, so the same bytes serve every socket.
        """
        if self._framed is None:
            self._framed = _TEXT + _length(self.size) + self.data
        return self._framed


_TEXT = b"\x81"  # the final fragment of a text message


def _length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    if size < 65_536:
        return b"\x7e" + size.to_bytes(2, "big")
    return b"\x7f" + size.to_bytes(8, "big")


def encode_record(record: Record, *, replayed: bool = False) -> Encoded:
    """Encode a message of the log as its frame; an ephemeral one (offset 0) has no place."""
    is_kept = record.offset > 0
    data = _codec.encode_message(
        message_id=record.id,
        topic=record.topic,
        payload=record.payload,
        timestamp=record.published_at,
        metadata=record.metadata or None,
        seq=record.seq if is_kept else None,
        position=(record.partition, record.offset) if is_kept else None,
        replayed=replayed,
    )
    return Encoded(data, expires_at=record.expires_at)
