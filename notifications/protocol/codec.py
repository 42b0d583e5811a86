"""Frames to bytes and back, one codec per WebSocket subprotocol.

An inbound frame is decoded once, straight into its record. Only what fails is looked at again
(notifications.protocol.refusals).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from notifications.errors import BadFrame, NotificationError
from notifications.protocol.client_frames import ClientFrame, Publish
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import BATCH_FRAMES, compact_payload, within_structure
from notifications.protocol.refusals import (
    Refusal,
    explain,
    replacing,
    structural,
    too_complex,
    undecodable,
)
from notifications.protocol.server_frames import Position, ServerFrame
from notifications.protocol.values import Frame


class Codec(Protocol):
    """What a connection needs of its subprotocol.

    name: the subprotocol's.
    text: whether its WebSocket messages are text.
    """

    name: str
    text: bool

    def decode_inbound(
        self, data: bytes | str
    ) -> ClientFrame | Refusal | list[ClientFrame | Refusal]:
        """Read a WebSocket message: one frame, or a list when it is a batch. Never raises."""

    def decode_client(self, data: bytes | str) -> ClientFrame:
        """Read a message that must be one frame; raises a NotificationError and nothing else."""

    def encode(self, frame: ServerFrame) -> bytes:
        """Write a frame."""

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

        payload, metadata: compact JSON. timestamp: milliseconds since 1970 UTC.
        """


_DECODER = msgspec.json.Decoder(ClientFrame)
_ENCODER = msgspec.json.Encoder()
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_WHITE_SPACE = b" \t\r\n"

# A cursor and a resume are wishes: what cannot even be read is as good as a wrong one, and rule 3
# of replay says what that gets. So it is replaced by the least that stands for the same answer.
_FORGIVEN = {
    ("auth", "resume"): b"null",
    ("auth", "resume.sessionId"): b"null",
    ("auth", "resume.cursor"): b"{}",
    ("subscribe", "options.since"): b"{}",
    ("replay", "cursor"): b"{}",
    ("ack", "cursor"): b"{}",
}


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
    """JSON in text messages: subprotocol `notifications.v1.json`."""

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
        decoded = self.decode_inbound(data)
        if isinstance(decoded, Refusal):
            raise decoded.error
        if isinstance(decoded, list):
            raise BadFrame("Send one frame, not a batch.")
        return decoded

    def _decode_frame(self, raw: bytes) -> ClientFrame | Refusal:
        try:
            frame: ClientFrame = _DECODER.decode(raw)
            if not within_structure(raw):
                return too_complex()
            if type(frame) is Publish:
                # Before anyone else sees the frame. The copy also lets go of the message's buffer.
                payload = msgspec.Raw(compact_payload(frame.payload))
                msgspec.structs.force_setattr(frame, "payload", payload)
            return frame
        except (ValueError, RecursionError, NotificationError) as fault:
            refusal = explain(raw, fault)
        forgiven = _FORGIVEN.get((refusal.type or "", refusal.field or ""))
        if forgiven is None or refusal.field is None:
            return refusal
        return self._decode_frame(replacing(raw, refusal.field, forgiven))

    def _decode_batch(self, raw: bytes) -> Refusal | list[ClientFrame | Refusal]:
        try:
            elements = [bytes(element) for element in _ARRAY.decode(raw)]
        except (ValueError, RecursionError):
            return undecodable()
        if len(elements) > BATCH_FRAMES:
            return structural(f"Send at most {BATCH_FRAMES} frames in an array.")
        if any(element[:1] == b"[" for element in elements):
            return structural("Send frames in a batch, not arrays.")
        return [self._decode_frame(element) for element in elements]

    def encode(self, frame: ServerFrame) -> bytes:
        """Write a frame as compact JSON."""
        return _ENCODER.encode(frame)

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


SUBPROTOCOLS: dict[str, Codec] = {JsonCodec.name: JsonCodec()}
"""Every subprotocol and its codec; codecs keep no state, so connections share them."""

DEFAULT_SUBPROTOCOL = JsonCodec.name
"""Spoken when the client offers none."""


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """Choose the first known subprotocol in the client's order.

    offered: from Sec-WebSocket-Protocol. None is returned when nothing was offered: speak
    DEFAULT_SUBPROTOCOL and echo nothing.
    BadFrame (HTTP 400) when none of those offered is known.
    """
    if not offered:
        return None
    for name in offered:
        if name in SUBPROTOCOLS:
            return name
    raise BadFrame(f"Offer one of the subprotocols {', '.join(SUBPROTOCOLS)}, or none.")
