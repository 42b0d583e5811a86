"""The second look at a message that did not decode: what is wrong, and which id the answer carries.

Only failures come here, so this takes the time to tell the cases of section 1 of docs/protocol.md
apart. No text quotes what the client sent or how the server is built.
"""

import re
from collections.abc import Iterator
from typing import get_args

import msgspec

from notifications.errors import BadFrame, NotificationError, UnknownType
from notifications.protocol.client_frames import (
    Ack,
    ClientFrame,
    Ping,
    Publish,
    Refresh,
    Replay,
    Subscribe,
    Unsubscribe,
    Verify,
)
from notifications.protocol.limits import MAX_DEPTH, MAX_KEYS, within_structure
from notifications.protocol.values import RequestId


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A message, or one frame of a batch, that is answered with an error.

    error: the answer.
    id: the request's, where it is valid.
    is_structural: one of those BadFrames that carry no id and are counted against the connection.
    type: the frame's, where it is known.
    field: where in the frame the fault is, such as `options.batch.maxSize`.
    """

    error: NotificationError
    id: int | str | None = None
    is_structural: bool = False
    type: str | None = None
    field: str | None = None


def structural(message: str) -> Refusal:
    """Refuse a message that is no frame: no id, and counted."""
    return Refusal(error=BadFrame(message), is_structural=True)


def undecodable(is_text: bool = True) -> Refusal:
    """Refuse a message that does not decode, as JSON or as MessagePack."""
    if is_text:
        return structural("Send well-formed JSON in UTF-8.")
    return structural("Send well-formed MessagePack, with text in UTF-8 and text as keys.")


def too_complex() -> Refusal:
    """Refuse a message that exceeds the bounds of nesting or of keys."""
    return structural(
        f"Send frames nested at most {MAX_DEPTH} levels deep,"
        f" with at most {MAX_KEYS} keys in an object."
    )


FRAMES: dict[str, type[ClientFrame]] = {
    str(frame.__struct_config__.tag): frame for frame in get_args(ClientFrame)
}
"""Every type that a client may send, and its record."""

SERVED: frozenset[type[ClientFrame]] = frozenset(
    {Subscribe, Unsubscribe, Publish, Replay, Verify, Ack, Refresh, Ping}
)
"""What the server carries out once a connection is open; other types get UNKNOWN_TYPE."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ID = msgspec.json.Decoder(RequestId)
_TYPE = msgspec.json.Decoder(str)
_NULL = b"null"
_UNDESCRIBED = "what the protocol describes"


def explain(data: bytes, fault: Exception) -> Refusal:
    """Say why a single frame was refused.

    data: the frame as JSON text, whatever it is. fault: what decoding it raised.
    """
    fields = _look(data)
    if isinstance(fields, Refusal):
        return fields
    request_id = _request_id(fields)
    try:
        kind = _TYPE.decode(fields["type"])
    except ValueError:
        return Refusal(error=BadFrame("Send `type` as text."), id=request_id)
    if kind not in FRAMES:
        return Refusal(error=unknown_type(), id=request_id)
    if isinstance(fault, NotificationError):
        return Refusal(error=fault, id=request_id, type=kind)
    if not isinstance(fault, msgspec.ValidationError):
        return undecodable()
    field = field_of(fault)
    expected = _EXPECTED.get((kind, field), _UNDESCRIBED)
    error = BadFrame(f"Send `{field}` as {expected}.")
    return Refusal(error=error, id=request_id, type=kind, field=field)


def _look(data: bytes) -> dict[str, msgspec.Raw] | Refusal:
    """Return the fields of what may be called a frame, unread, or say why it is none."""
    try:
        fields = _FIELDS.decode(data)
    except msgspec.ValidationError:
        return structural("Send an object with a `type`, or an array of such objects.")
    except RecursionError:
        return too_complex()
    except ValueError:
        return undecodable()
    if not within_structure(data):
        return too_complex()
    if _is_absent(fields, "type"):
        return structural("Send a `type` in every frame.")
    return fields


def unknown_type() -> UnknownType:
    """Refuse a type that this server does not serve."""
    served = sorted(kind for kind, frame in FRAMES.items() if frame in SERVED)
    return UnknownType(f"Send one of the types {', '.join(served)}.")


def replacing(data: bytes, field: str, value: bytes) -> bytes:
    """Return an object's JSON text with one of its fields set to another value.

    field: a path such as `resume.cursor`; its first name is in `data`.
    value: JSON text.
    """
    try:
        fields = _FIELDS.decode(data)
    except ValueError:  # a repeated key: the last one counts here, and an earlier one was at fault
        fields = {}
    head, _, rest = field.partition(".")
    fields[head] = msgspec.Raw(replacing(bytes(fields[head]), rest, value) if rest else value)
    return msgspec.json.encode(fields)


def _is_absent(fields: dict[str, msgspec.Raw], name: str) -> bool:
    return name not in fields or bytes(fields[name]) == _NULL


def _request_id(fields: dict[str, msgspec.Raw]) -> int | str | None:
    if _is_absent(fields, "id"):
        return None
    try:
        request_id: int | str = _ID.decode(fields["id"])
    except ValueError:
        return None
    return request_id


# msgspec ends its texts with "- at `$.options.batch.maxSize`"; elements are "[0]" or "[...]".
_PATH = re.compile(r"at `\$\.?([^`]*)`$")
_ELEMENT = re.compile(r"\[[^\]]*\]")
_MISSING = re.compile(r"missing required field `(\w+)`")


def field_of(fault: msgspec.ValidationError) -> str:
    """Return the path of the field at fault, such as `options.batch.maxSize`.

    Empty when the fault is the whole, which is then no object.
    """
    text = str(fault)
    path = _PATH.search(text)
    missing = _MISSING.search(text)
    parts = [path.group(1) if path else "", missing.group(1) if missing else ""]
    return _ELEMENT.sub("", ".".join(part for part in parts if part))


def expectations(record: type[msgspec.Struct]) -> dict[str, str]:
    """Return what a client is told to send as each field of a record, by the field's path."""
    return dict(_expectations(msgspec.inspect.type_info(record), ""))


def _expectations(described: msgspec.inspect.Type, path: str) -> Iterator[tuple[str, str]]:
    """Walk a record's fields and yield (path, description) of each that has one."""
    if isinstance(described, msgspec.inspect.Metadata):
        schema = described.extra_json_schema or {}
        yield path, schema.get("description", _UNDESCRIBED)
        yield from _expectations(described.type, path)
    elif isinstance(described, msgspec.inspect.UnionType):
        for member in described.types:
            yield from _expectations(member, path)
    elif isinstance(described, msgspec.inspect.StructType):
        for field in described.fields:
            yield from _expectations(field.type, f"{path}.{field.encode_name}".lstrip("."))


_EXPECTED = {
    (kind, path): expectation
    for kind, frame in FRAMES.items()
    for path, expectation in expectations(frame).items()
}
