"""An encoded frame: made once, and shared by every connection that it goes to."""

from collections.abc import Iterator, Sequence
from typing import Any

from notifications import metrics
from notifications.log.records import Record
from notifications.protocol.codec import JSON, SUBPROTOCOLS, Codec
from notifications.topics.handling import Overflow

ARRAY_BYTES = 65_536
"""Bytes of frames that go into one array, unless one frame alone has more."""

KEPT_BYTES = 524_288
"""Bytes of arrays that are kept for who wants the same ones next: twice what a write takes."""


class Encoded:
    """The bytes of one frame in the forms that transports want, each made when first wanted.

    data: the frame as its codec wrote it.
    size: bytes that it takes in a buffer.
    expires_at: milliseconds since 1970 after which it must not be sent any more; 0 for never.
    topic, overflow: of a message that may be dropped, and what gives way then; None for others.
    """

    __slots__ = ("_framed", "_text", "codec", "data", "expires_at", "overflow", "size", "topic")

    def __init__(
        self,
        data: bytes,
        codec: Codec = JSON,
        *,
        expires_at: int = 0,
        topic: str = "",
        overflow: Overflow | None = None,
    ) -> None:
        self.data = data
        self.size = len(data)
        self.codec = codec
        self.expires_at = expires_at
        self.topic = topic
        self.overflow = overflow
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
        """The frame as one WebSocket message on the wire.

        What a server sends is not masked, so the same bytes serve every socket.
        """
        if self._framed is None:
            self._framed = _frame(self.data, self.codec)
        return self._framed


def arrays_of(frames: Sequence[Encoded], most: int) -> Iterator[Sequence[Encoded]]:
    """Cut frames into arrays of at most `most`, and of ARRAY_BYTES unless one frame has more."""
    start = size = 0
    for index, frame in enumerate(frames):
        size += frame.size
        if index > start and (index - start == most or size > ARRAY_BYTES):
            yield frames[start:index]
            start, size = index, frame.size
    if frames:
        yield frames[start:]


def framed_array(frames: Sequence[Encoded]) -> bytes:
    """Return frames as one WebSocket message on the wire: several are an array.

    Who subscribes to the same has the same frames waiting, and is written to one after the other:
    so the arrays made last are kept, and given to all of them.
    """
    if len(frames) == 1:
        return frames[0].framed
    return _arrays.of(frames)


class _Arrays:
    """The arrays made last. Bound: KEPT_BYTES of them. Policy: the oldest goes."""

    __slots__ = ("_kept", "_size")

    def __init__(self) -> None:
        # By the first frame and how many there are; the entry keeps the frames, so that no other
        # has its place in memory.
        self._kept: dict[tuple[int, int], tuple[list[Encoded], bytes]] = {}
        self._size = 0

    def of(self, frames: Sequence[Encoded]) -> bytes:
        key, wanted = (id(frames[0]), len(frames)), list(frames)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == wanted:  # frames are equal to themselves only
            return kept[1]
        codec = wanted[0].codec
        framed = _frame(codec.join([frame.data for frame in wanted]), codec)
        self._size += len(framed) - (len(kept[1]) if kept is not None else 0)
        self._kept[key] = wanted, framed
        while self._size > KEPT_BYTES:
            oldest = next(iter(self._kept))
            self._size -= len(self._kept.pop(oldest)[1])
        return framed


_arrays = _Arrays()


def event_of(frames: Sequence[Encoded]) -> dict[str, Any]:
    """Return the ASGI event that sends a frame, or several as an array."""
    first = frames[0]
    if len(frames) > 1:
        first = Encoded(first.codec.join([frame.data for frame in frames]), first.codec)
    if first.codec.text:
        return {"type": "websocket.send", "text": first.text}
    return {"type": "websocket.send", "bytes": first.data}


_framed = {
    codec: metrics.frames_framed.labels(name.rsplit(".", 1)[1])
    for name, codec in SUBPROTOCOLS.items()
}
_encoded = {
    codec: metrics.messages_encoded.labels(name.rsplit(".", 1)[1])
    for name, codec in SUBPROTOCOLS.items()
}


def _frame(data: bytes, codec: Codec) -> bytes:
    # RFC 6455, section 5.2: the final fragment of a text or a binary message, and its length.
    _framed[codec].inc()
    return (b"\x81" if codec.text else b"\x82") + _length(len(data)) + data


def _length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    if size < 65_536:
        return b"\x7e" + size.to_bytes(2, "big")
    return b"\x7f" + size.to_bytes(8, "big")


def encode_record(
    record: Record,
    codec: Codec = JSON,
    *,
    replayed: bool = False,
    overflow: Overflow | None = None,
) -> Encoded:
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
    return Encoded(data, codec, expires_at=record.expires_at, topic=record.topic, overflow=overflow)
