"""An encoded frame: made once, and shared by every connection that it goes to."""

from typing import Any

from notifications import metrics
from notifications.log.records import Record
from notifications.protocol.codec import JSON, SUBPROTOCOLS, Codec


class Encoded:
    """The bytes of one frame in the forms that transports want, each made when first wanted.

    data: the frame as its codec wrote it.
    size: bytes that it takes in a buffer.
    expires_at: milliseconds since 1970 after which it must not be sent any more; 0 for never.
    """

    __slots__ = ("_codec", "_framed", "_text", "data", "expires_at", "size")

    def __init__(self, data: bytes, codec: Codec = JSON, *, expires_at: int = 0) -> None:
        self.data = data
        self.size = len(data)
        self.expires_at = expires_at
        self._codec = codec
        self._framed: bytes | None = None
        self._text: str | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The ASGI event that sends the frame, for servers that do the framing themselves."""
        if not self._codec.text:
            return {"type": "websocket.send", "bytes": self.data}
        if self._text is None:
            self._text = self.data.decode()
        return {"type": "websocket.send", "text": self._text}

    @property
    def framed(self) -> bytes:
        """The frame as one WebSocket message on the wire (RFC 6455, section 5.2).

        What a server sends is not masked, so the same bytes serve every socket.
        """
        if self._framed is None:
            self._framed = (_TEXT if self._codec.text else _BINARY) + _length(self.size) + self.data
            _framed[self._codec].inc()
        return self._framed


_TEXT = b"\x81"  # the final fragment of a text message
_BINARY = b"\x82"

_framed = {
    codec: metrics.frames_framed.labels(name.rsplit(".", 1)[1])
    for name, codec in SUBPROTOCOLS.items()
}
_encoded = {
    codec: metrics.messages_encoded.labels(name.rsplit(".", 1)[1])
    for name, codec in SUBPROTOCOLS.items()
}


def _length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    if size < 65_536:
        return b"\x7e" + size.to_bytes(2, "big")
    return b"\x7f" + size.to_bytes(8, "big")


def encode_record(record: Record, codec: Codec = JSON, *, replayed: bool = False) -> Encoded:
    """Encode a message of the log as its frame; an ephemeral one (offset 0) has no place."""
    is_kept = record.offset > 0
    data = codec.encode_message(
        message_id=record.id,
        topic=record.topic,
        payload=record.payload,
        timestamp=record.published_at,
        metadata=record.metadata or None,
        seq=record.seq if is_kept else None,
        position=(record.partition, record.offset) if is_kept else None,
        replayed=replayed,
    )
    _encoded[codec].inc()
    return Encoded(data, codec, expires_at=record.expires_at)
