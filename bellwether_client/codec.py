"""What goes over the socket: JSON text, or MessagePack where msgspec is installed."""

import json
from typing import Any, Protocol

from bellwether_client.config import CodecName

try:
    import msgspec
except ImportError:  # an optional dependency
    HAS_MSGSPEC = False
else:
    HAS_MSGSPEC = True


class Codec(Protocol):
    """One of the two. subprotocol: its name in the upgrade."""

    subprotocol: str

    def encode(self, frame: dict[str, Any]) -> str | bytes:
        """Write a frame; raises TypeError and ValueError for what is no JSON value."""

    def decode(self, data: str | bytes) -> Any:
        """Read a frame or batch; raises ValueError."""


def _to_json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()  # a lone surrogate is no text
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return text


class JsonCodec:
    """Text messages. Written by the standard library with or without msgspec, so that what an
    application may publish does not depend on what is installed."""

    subprotocol = "notifications.v1.json"

    def encode(self, frame: dict[str, Any]) -> str:
        """Write a frame."""
        return _to_json(frame)

    def decode(self, data: str | bytes) -> Any:
        """Read a frame or batch."""
        if isinstance(data, bytes):
            raise ValueError("a binary message on a text connection")
        try:
            return msgspec.json.decode(data) if HAS_MSGSPEC else json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class MsgpackCodec:
    """Binary messages. A value means what it means in JSON: instants are text, and so are keys."""

    subprotocol = "notifications.v1.msgpack"

    def encode(self, frame: dict[str, Any]) -> bytes:
        """Write a frame; by way of JSON, so that nothing else gets in."""
        try:
            return msgspec.msgpack.encode(json.loads(_to_json(frame)))
        except OverflowError as error:
            raise ValueError("MessagePack holds integers of 64 bits") from error

    def decode(self, data: str | bytes) -> Any:
        """Read a frame or batch."""
        if isinstance(data, str):
            raise ValueError("a text message on a binary connection")
        try:
            return msgspec.msgpack.decode(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def codec_of(name: CodecName) -> Codec:
    """Return a codec; raises RuntimeError where what it needs is not installed."""
    if name == "json":
        return JsonCodec()
    if not HAS_MSGSPEC:
        raise RuntimeError(
            "codec='msgpack' needs msgspec: pip install 'bellwether_client[msgpack]',"
            " or use codec='json'."
        )
    return MsgpackCodec()
