"""The second look at a MessagePack frame: one that is deep, or that holds what JSON cannot.

What JSON cannot hold is replaced by something that no JSON decoder takes for a value; so the field
with it is refused, forgiven or ignored as such fields are.
"""

import math
from typing import Any

import msgspec

from notifications.protocol.limits import MAX_DEPTH, MAX_KEYS
from notifications.protocol.refusals import Refusal, structural, too_complex, undecodable

COMMON_DEPTH = 6
"""Levels of a frame that are checked while it is decoded. More would be rare, and each doubles the
time that the decoder takes to be made."""

DEEP_CONTAINERS = 16_000
"""Objects and arrays in a frame of more than COMMON_DEPTH levels. Each takes a byte at least, and
it would cost the server too much to look at as many as a frame can hold. Brackets in text count
too: that bounds the figure from above and costs little."""

LOOKED_AT = 4_000
"""Parts of a frame with something foreign in it that are looked at to tell where that is. In a
larger one it is refused wherever it is, so that nobody can make the server look for long."""

_ANYTHING = msgspec.msgpack.Decoder()
_WRITER = msgspec.json.Encoder()
NO_JSON = b"1e999"
"""Stands where something was that JSON cannot hold. No number that we write looks like it."""

_NO_JSON = msgspec.Raw(NO_JSON)
_NO_CONTAINERS = bytes(byte for byte in range(256) if not 0x80 <= byte < 0xA0)

HOLDABLE = (
    "what JSON can hold too: no binary, no extension types, only finite numbers, and text as keys"
)


def look_again(raw: bytes, *, may_be_plain: bool) -> bytes | Refusal:
    """Write a frame as compact JSON, or say why it is none.

    may_be_plain: whether it may be only deep.
    """
    try:
        if not may_be_plain and len(raw.translate(None, _NO_CONTAINERS)) > DEEP_CONTAINERS:
            raise _RefusedError(f"Send {HOLDABLE}.")
        value = _ANYTHING.decode(raw)
        text = _plainly(value) if may_be_plain else None
        if text is not None:
            return text
        if isinstance(value, dict) and not _has_text_keys(value):
            raise _RefusedError("Send frames whose keys are text.")
        return _WRITER.encode(_Cleaning().clean(value, MAX_DEPTH))
    except (_TooComplexError, RecursionError):
        return too_complex()
    except _RefusedError as error:
        return structural(str(error))
    except ValueError:
        return undecodable(is_text=False)


def _plainly(value: Any) -> bytes | None:
    """Write a value as JSON if it comes back from there as it is."""
    try:
        text = _WRITER.encode(value)
    except TypeError:
        return None
    if text.count(b"[") + text.count(b"{") > DEEP_CONTAINERS:
        raise _RefusedError(
            f"Send at most {DEEP_CONTAINERS:,} objects and arrays in a frame"
            f" that is nested more than {COMMON_DEPTH} levels deep."
        )
    return text if msgspec.json.decode(text) == value else None


class _TooComplexError(Exception):
    """A value exceeds the bounds of nesting or of keys."""


class _RefusedError(Exception):
    """A frame is refused as a whole; the text says what to send."""


class _Cleaning:
    """Puts _NO_JSON in place of each part of a value that JSON cannot hold."""

    def __init__(self) -> None:
        self._left = LOOKED_AT

    def clean(self, value: Any, depth: int) -> Any:
        """Return the value without them. depth: the levels that it may have."""
        self._left -= 1
        if not self._left:
            raise _RefusedError(f"Send {HOLDABLE}.")
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else _NO_JSON
        if not isinstance(value, list | dict):
            return _NO_JSON
        if not depth:
            raise _TooComplexError
        if isinstance(value, list):
            return [self.clean(one, depth - 1) for one in value]
        if len(value) > MAX_KEYS:
            raise _TooComplexError
        if not _has_text_keys(value):
            return _NO_JSON
        return {key: self.clean(one, depth - 1) for key, one in value.items()}


def _has_text_keys(value: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)
