"""MessagePack in binary messages: subprotocol `notifications.v1.msgpack`.

A frame has the shapes that it has in JSON. What comes in is turned into JSON text once and goes the
way of every frame; so nothing is accepted, refused or stored differently because of its codec. What
goes out is written from the same records, and a payload from its stored JSON.
"""

import math
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from notifications.errors import BadFrame
from notifications.protocol.client_frames import ClientFrame
from notifications.protocol.decoding import TakePayload, only_frame, read_batch, read_frame
from notifications.protocol.foreign import COMMON_DEPTH, HOLDABLE, NO_JSON, look_again
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import (
    MAX_KEYS,
    PAYLOAD_BYTES,
    payload_too_large,
)
from notifications.protocol.refusals import Refusal, too_complex, undecodable
from notifications.protocol.server_frames import Message, Position, ServerFrame
from notifications.protocol.values import Frame


def _json_value(depth: int) -> Any:
    """Return the type of what JSON can hold, of at most so many levels."""
    number = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
    scalar = None | bool | int | number | str
    if not depth:
        return scalar
    inner = _json_value(depth - 1)
    objects = Annotated[dict[str, inner], msgspec.Meta(max_length=MAX_KEYS)]  # type: ignore[valid-type]  # made as it runs
    return scalar | list[inner] | objects  # type: ignore[valid-type]


class _Published(msgspec.Struct):
    payload: msgspec.Raw


_COMMON = msgspec.msgpack.Decoder(_json_value(COMMON_DEPTH))
_ARRAY = msgspec.msgpack.Decoder(list[msgspec.Raw])
_PUBLISHED = msgspec.msgpack.Decoder(_Published)
_PACKER = msgspec.msgpack.Encoder()
_WRITER = msgspec.json.Encoder()


class _StoredMessage(Frame, frozen=True, kw_only=True, tag="message"):
    """A Message with its payload and metadata as values."""

    id: str
    topic: str
    payload: Any
    timestamp: str
    metadata: Any = None
    seq: int | None = None
    position: Position | None = None
    replayed: bool | None = None


class MsgpackCodec:
    """The codec of binary messages."""

    name = "notifications.v1.msgpack"
    text = False

    def decode_inbound(
        self, data: bytes | str
    ) -> ClientFrame | Refusal | list[ClientFrame | Refusal]:
        """Read a WebSocket message: one frame, or a list when it is a batch.

        What is no frame comes back as a Refusal, within a batch in its place. A batch over
        BATCH_FRAMES or with an array in it is one structural Refusal; an empty one is an empty
        list. Never raises.
        """
        if isinstance(data, str):  # not from a WebSocket, where its kind would have closed it
            return undecodable(self.text)
        return self._decode_batch(data) if _is_array(data) else self._decode_frame(data)

    def decode_client(self, data: bytes | str) -> ClientFrame:
        """Read a message that must be one frame; raises a NotificationError and nothing else.

        `decode_inbound` tells the id to answer with as well.
        """
        return only_frame(self.decode_inbound(data))

    def _decode_frame(self, raw: bytes) -> ClientFrame | Refusal:
        text = _to_json(raw)
        return text if isinstance(text, Refusal) else read_frame(text, _payload_of(raw))

    def _decode_batch(self, raw: bytes) -> Refusal | list[ClientFrame | Refusal]:
        try:
            elements = [bytes(element) for element in _ARRAY.decode(raw)]
        except (ValueError, RecursionError):
            return undecodable(self.text)
        return read_batch(elements, _is_array, self._decode_frame)

    def encode(self, frame: ServerFrame) -> bytes:
        """Write a frame."""
        if type(frame) is Message:
            frame = msgspec.structs.replace(frame, payload=msgspec.Raw(pack_json(frame.payload)))
        try:
            return _PACKER.encode(frame)
        except OverflowError:  # in the options of a subscription, which are the client's own JSON
            return pack_json(_WRITER.encode(frame))

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Make an array of frames that were written before."""
        header = bytes((0x90 | len(frames),)) if len(frames) < 16 else _array16(len(frames))
        return header + b"".join(frames)

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

        payload, metadata: compact JSON; see `pack_json`. timestamp: milliseconds since 1970 UTC.
        """
        message = _StoredMessage(
            id=message_id,
            topic=topic,
            payload=msgspec.json.decode(payload),
            timestamp=format_instant(timestamp),
            metadata=None if metadata is None else msgspec.json.decode(metadata),
            seq=seq,
            position=position,
            replayed=replayed or None,
        )
        try:
            return _PACKER.encode(message)
        except OverflowError:
            held = _within_64_bits(message.payload)
            return _PACKER.encode(msgspec.structs.replace(message, payload=held))


def pack_json(text: bytes | str | msgspec.Raw) -> bytes:
    """Write JSON text as MessagePack, keys in their order.

    Integers of up to 64 bits stay integers; a larger one becomes the nearest float64 (beyond its
    range an infinity), which is what most readers of JSON make of it. Of a repeated key the last
    value stays. text: JSON that decodes.
    """
    value = msgspec.json.decode(text)
    try:
        return _PACKER.encode(value)
    except OverflowError:
        return _PACKER.encode(_within_64_bits(value))


def _within_64_bits(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _within_64_bits(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_within_64_bits(one) for one in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def _is_array(raw: bytes) -> bool:
    return raw[:1] in _ARRAYS


_ARRAYS = frozenset(bytes((first,)) for first in (*range(0x90, 0xA0), 0xDC, 0xDD))
"""What begins a fixarray, an array 16 and an array 32."""


def _array16(count: int) -> bytes:
    return b"\xdc" + count.to_bytes(2, "big")


def _to_json(raw: bytes) -> bytes | Refusal:
    """Write a frame as compact JSON, or say why it is none."""
    try:
        return _WRITER.encode(_COMMON.decode(raw))
    except msgspec.ValidationError as fault:
        # Repeated keys count each time, and only this decoder has seen them.
        told = str(fault)
        if "of length" in told:
            return too_complex()
        return look_again(raw, may_be_plain="got `array`" in told or "got `object`" in told)
    except (ValueError, RecursionError):
        return undecodable(MsgpackCodec.text)


def _payload_of(raw: bytes) -> TakePayload:
    """Return what takes the payload of a frame, whose JSON is compact already."""

    def take(part: msgspec.Raw) -> bytes:
        text = bytes(part)
        if NO_JSON in text:  # or in a string of the payload, which decodes
            try:
                msgspec.json.decode(text)
            except ValueError:
                raise BadFrame(f"Send `payload` as {HOLDABLE}.") from None
        if len(raw) > PAYLOAD_BYTES:
            size = len(bytes(_PUBLISHED.decode(raw).payload))
            if size > PAYLOAD_BYTES:
                raise payload_too_large(size, "MessagePack")
        return text

    return take
