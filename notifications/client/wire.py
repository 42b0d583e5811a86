"""What goes over the socket: the frames of docs/protocol.md, in JSON or in MessagePack."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from notifications.client.inbox import Message
from notifications.errors import BadFrame
from notifications.protocol.codec import JSON, MSGPACK
from notifications.protocol.frames import (
    AuthSuccess,
    ClientFrame,
    Disconnect,
    Error,
    Gap,
    Pong,
    Published,
    Refreshed,
    ReplayComplete,
    Subscribed,
    TokenExpiring,
    Unsubscribed,
)
from notifications.protocol.limits import (
    PAYLOAD_BYTES,
    check_payload,
    check_structure,
    payload_too_large,
)
from notifications.protocol.msgpack_codec import pack_json

Received = (
    AuthSuccess
    | Disconnect
    | Error
    | Gap
    | Message
    | Pong
    | Published
    | Refreshed
    | ReplayComplete
    | Subscribed
    | TokenExpiring
    | Unsubscribed
)
"""The frames that this client understands; others are counted and ignored."""

CodecName = Literal["json", "msgpack"]
"""What an application may choose to speak."""

_to_json = msgspec.json.Encoder().encode
_from_json: Callable[[bytes], Received] = msgspec.json.Decoder(Received).decode
_from_msgpack: Callable[[bytes], Received] = msgspec.msgpack.Decoder(Received).decode


class Wire(Protocol):
    """One of the two codecs, from the client's side.

    subprotocol: its name in the upgrade.
    """

    subprotocol: str

    def check(self, payload: bytes) -> bytes:
        """Return a payload (compact JSON) within the server's bounds.

        Raises BadFrame and PayloadTooLarge: sent, it could cost the connection.
        """

    def encode(self, frame: ClientFrame) -> str | bytes:
        """Write a frame; text goes into a text message."""

    def decode(self, data: bytes) -> Received:
        """Read a frame; raises msgspec.DecodeError on a type of a later version."""


class JsonWire:
    """Text messages."""

    subprotocol = JSON.name

    def check(self, payload: bytes) -> bytes:
        """Count it compact."""
        return check_payload(payload)

    def encode(self, frame: ClientFrame) -> str:
        """Write a frame."""
        return _to_json(frame).decode()

    def decode(self, data: bytes) -> Received:
        """Read a frame."""
        return _from_json(data)


class MsgpackWire:
    """Binary messages. A value means what it means in JSON: instants are text, and so are keys."""

    subprotocol = MSGPACK.name

    def check(self, payload: bytes) -> bytes:
        """Count it packed."""
        check_structure(payload)
        size = len(pack_json(payload))
        if size > PAYLOAD_BYTES:
            raise payload_too_large(size, "MessagePack")
        return payload

    def encode(self, frame: ClientFrame) -> bytes:
        """Write a frame."""
        return pack_json(_to_json(frame))

    def decode(self, data: bytes) -> Received:
        """Read a frame."""
        return _from_msgpack(data)


_WIRES: dict[CodecName, Wire] = {"json": JsonWire(), "msgpack": MsgpackWire()}


def wire_of(codec: CodecName) -> Wire:
    """Return the wire of a codec; raises ValueError for another name."""
    try:
        return _WIRES[codec]
    except KeyError:
        raise ValueError(f"codec is one of {', '.join(_WIRES)}, not {codec!r}.") from None


def payload_of(value: Any, wire: Wire) -> msgspec.Raw:
    """Return a value as the payload of a `publish`; raises BadFrame and PayloadTooLarge."""
    try:
        return msgspec.Raw(wire.check(_to_json(value)))
    except (TypeError, ValueError) as error:
        raise BadFrame(f"The payload is no JSON value: {error}") from error
