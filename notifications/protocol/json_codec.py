"""JSON in text messages: subprotocol `notifications.v1.json`."""

from collections.abc import Sequence

import msgspec

from notifications.protocol.client_frames import ClientFrame
from notifications.protocol.decoding import only_frame, read_batch, read_frame
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import compact_payload
from notifications.protocol.refusals import Refusal, undecodable
from notifications.protocol.server_frames import Position, ServerFrame
from notifications.protocol.values import Frame

_ENCODER = msgspec.json.Encoder()
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_WHITE_SPACE = b" \t\r\n"


class _StoredMessage(Frame, frozen=True, kw_only=True, tag="message"):
    """A Message whose metadata is JSON too, so that no delivery has to parse it."""

    id: str
    topic: str
    payload: msgspec.Raw
    timestamp: str
    metadata: msgspec.Raw | None = None
    seq: int | None = None
    position: Position | None = None
    replayed: bool | None = None


class JsonCodec:
    """The codec of text messages."""

    name = "notifications.v1.json"
    text = True

    def decode_inbound(
        self, data: bytes | str
    ) -> ClientFrame | Refusal | list[ClientFrame | Refusal]:
        """Read a WebSocket message: one frame, or a list when it is a batch.

        What is no frame comes back as a Refusal, within a batch in its place. A batch over
        BATCH_FRAMES or with an array in it is one structural Refusal; an empty one is an empty
        list. Never raises.
        """
        try:
            raw = data.encode() if isinstance(data, str) else data
        except UnicodeEncodeError:  # lone surrogates: not from a WebSocket, but from a test or tool
            return undecodable()
        if raw[:1] != b"{" and raw.lstrip(_WHITE_SPACE)[:1] == b"[":
            return self._decode_batch(raw)
        return self._decode_frame(raw)

    def decode_client(self, data: bytes | str) -> ClientFrame:
        """Read a message that must be one frame; raises a NotificationError and nothing else.

        `decode_inbound` tells the id to answer with as well.
        """
        return only_frame(self.decode_inbound(data))

    def _decode_frame(self, raw: bytes) -> ClientFrame | Refusal:
        return read_frame(raw, compact_payload)

    def _decode_batch(self, raw: bytes) -> Refusal | list[ClientFrame | Refusal]:
        try:
            elements = [bytes(element) for element in _ARRAY.decode(raw)]
        except (ValueError, RecursionError):
            return undecodable()
        return read_batch(elements, _is_array, self._decode_frame)

    def encode(self, frame: ServerFrame) -> bytes:
        """Write a frame as compact JSON."""
        return _ENCODER.encode(frame)

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Make an array of frames that were written before."""
        return b"[" + b",".join(frames) + b"]"

    def encode_message(
        self,
        *,
        message_id: str,
        topic: str,
        payload: bytes | str,
        timestamp: int,
        metadata: bytes | str | None = None,
        seq: int | None = None,
        position: Position | None = None,
        replayed: bool = False,
    ) -> bytes:
        """Write a `message` from its stored parts, once for all its recipients.

        payload, metadata: compact JSON, copied as it is. timestamp: milliseconds since 1970 UTC.
        """
        return _ENCODER.encode(
            _StoredMessage(
                id=message_id,
                topic=topic,
                payload=msgspec.Raw(payload),
                timestamp=format_instant(timestamp),
                metadata=None if metadata is None else msgspec.Raw(metadata),
                seq=seq,
                position=position,
                replayed=replayed or None,
            )
        )


def _is_array(element: bytes) -> bool:
    return element[:1] == b"["
