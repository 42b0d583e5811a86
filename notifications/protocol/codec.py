"""Frames to bytes and back, one codec per WebSocket subprotocol.

An inbound frame is decoded once, straight into its record. Only what fails is looked at again
(notifications.protocol.refusals).
"""

from collections.abc import Sequence
from typing import Protocol

from notifications.errors import BadFrame
from notifications.protocol.client_frames import ClientFrame
from notifications.protocol.json_codec import JsonCodec
from notifications.protocol.msgpack_codec import MsgpackCodec
from notifications.protocol.refusals import Refusal
from notifications.protocol.server_frames import Position, ServerFrame

__all__ = [
    "DEFAULT_SUBPROTOCOL",
    "JSON",
    "MSGPACK",
    "SUBPROTOCOLS",
    "Codec",
    "JsonCodec",
    "MsgpackCodec",
    "choose_subprotocol",
]


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

    def join(self, frames: Sequence[bytes]) -> bytes:
        """Make an array of frames that were written before."""

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


JSON: Codec = JsonCodec()
MSGPACK: Codec = MsgpackCodec()

SUBPROTOCOLS: dict[str, Codec] = {codec.name: codec for codec in (JSON, MSGPACK)}
"""Every subprotocol and its codec; codecs keep no state, so connections share them."""

DEFAULT_SUBPROTOCOL = JSON.name
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
