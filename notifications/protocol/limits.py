"""Bounds on what a peer may send, and the checks that hold them.

The bounds are sections 1 and 4 of docs/protocol.md. The checks run on encoded JSON whose grammar
has been checked already; they do not decode it.
"""

import re
from typing import Any

import msgspec

from notifications.errors import BadFrame, PayloadTooLarge

FRAME_BYTES = 64 * 1024
"""One WebSocket message."""

AUTH_BYTES = 8 * 1024
"""The first WebSocket message."""

BATCH_FRAMES = 100
"""Frames in an array."""

PAYLOAD_BYTES = 48 * 1024
"""A payload, in the codec that it came in; JSON is counted compact."""

MAX_DEPTH = 16
"""Objects and arrays inside each other; the frame itself is level 1, a batch's array is none."""

MAX_KEYS = 256
"""Keys in one object, repeated ones counted each time."""

# Possessive, and closed by the end too, so that hostile text cannot make it backtrack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)')
# Or a string of as many digits; doubles end at 1.8e308. Each run of digits is tried once.
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{309}")
_LEAF = re.compile(rb"\{:{1,%d}\}" % MAX_KEYS)
_ALL = bytes(range(256))
_NOT_BRACKETS = _ALL.translate(None, b"{}[]")
_NOT_OBJECTS = _ALL.translate(None, b"{}:")
_ONE_KIND = bytes.maketrans(b"[]", b"{}")


def within_structure(data: bytes, *, depth: int = MAX_DEPTH) -> bool:
    """Say whether JSON text keeps the bounds of nesting and of keys in an object.

    data: well-formed JSON, UTF-8. depth: the levels allowed.
    """
    # Counting brackets and colons bounds both figures from above and costs a few hundred
    # nanoseconds; an ordinary frame is done here. Those inside strings only overcount.
    is_flat = data.count(b"{") + data.count(b"[") <= depth
    is_narrow = data.count(b":") <= MAX_KEYS
    if is_flat and is_narrow:
        return True
    # No value is built and nothing recurses, so neither depth nor a number that no decoder takes
    # can stop this half-way.
    bare = _STRING.sub(b"", data)
    return _is_shallow(bare, depth) and (is_narrow or _is_narrow(bare, depth))


def _is_shallow(bare: bytes, depth: int) -> bool:
    """Say whether JSON text without its strings has at most so many levels."""
    brackets = bare.translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"{}", b"")  # all innermost containers, and so one level
        if not brackets:
            return True
    return False


def _is_narrow(bare: bytes, depth: int) -> bool:
    """Say whether all objects of such text, of at most so many levels, keep to MAX_KEYS."""
    objects = bare.translate(None, _NOT_OBJECTS)  # such as {:{::}:{}}
    for _ in range(depth):
        objects = _LEAF.sub(b"", objects.replace(b"{}", b""))
    return not objects


def compact_payload(raw: bytes | memoryview | msgspec.Raw) -> bytes:
    """Return a payload's compact JSON, at most PAYLOAD_BYTES of it.

    White space between tokens goes; numbers and strings stay as the publisher wrote them. So a
    payload is counted, compared and stored in one form, and no subscriber is sent white space.
    raw: well-formed JSON within the structural bounds.
    BadFrame when a value cannot be decoded, PayloadTooLarge over the limit.
    """
    try:
        # Nobody needs the value here. But a skipped value is not looked into: bytes that are no
        # UTF-8, and numbers that no double holds, would break whoever decodes the message later.
        value = msgspec.json.decode(raw)
        if _LONG_NUMBER.search(raw):
            _require_doubles(value)
    except (ValueError, OverflowError, RecursionError):
        raise BadFrame(
            "Send `payload` as any JSON value in UTF-8, with numbers that a double can hold."
        ) from None
    compact = msgspec.json.format(bytes(raw), indent=-1)
    if len(compact) > PAYLOAD_BYTES:
        raise payload_too_large(len(compact), "compact JSON")
    return compact


def _require_doubles(value: Any) -> None:
    """Raise OverflowError for an integer that no double holds; a float is one already."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, int):
            float(one)
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def payload_too_large(size: int, notation: str) -> PayloadTooLarge:
    """Make the error for a payload over PAYLOAD_BYTES.

    size: its bytes. notation: what they are bytes of.
    """
    return PayloadTooLarge(
        f"Send at most {PAYLOAD_BYTES:,} bytes of {notation} as `payload`; this one has {size:,}.",
        data={"payloadBytes": PAYLOAD_BYTES},
    )


def check_payload(raw: bytes | memoryview | msgspec.Raw) -> bytes:
    """Return a payload's compact JSON, checked as a frame's would be.

    For the doors that take a payload outside a frame: it will travel in one, a level deeper.
    raw: any bytes. BadFrame and PayloadTooLarge as `compact_payload`, and BadFrame over the
    bounds of structure.
    """
    compact = compact_payload(raw)
    check_structure(compact)
    return compact


def check_structure(payload: bytes) -> None:
    """Raise BadFrame over the bounds of structure. payload: well-formed JSON, outside its frame."""
    if not within_structure(payload, depth=MAX_DEPTH - 1):
        raise BadFrame(
            f"Send a `payload` nested at most {MAX_DEPTH - 1} levels deep,"
            f" with at most {MAX_KEYS} keys in an object."
        )
