"""Readers of one field of a frame. What is not as the protocol says raises Unreadable."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeGuard, TypeVar

from bellwether_client.cursor import Cursor, Position

Wire = dict[str, Any]
T = TypeVar("T")

_MAX_INTEGER = 2**53 - 1
_is_partition = re.compile(r"[0-9]{1,15}").fullmatch


class Unreadable(Exception):
    """A frame that breaks the protocol."""


def _wrong(key: str, wanted: str) -> NoReturn:
    raise Unreadable(f"{key} is not {wanted}")


def optional(wire: Wire, key: str, read: Callable[[Wire, str], T]) -> T | None:
    """Read an optional field: null counts as absent."""
    return None if wire.get(key) is None else read(wire, key)


def text(wire: Wire, key: str) -> str:
    """Read a text."""
    value = wire.get(key)
    return value if isinstance(value, str) else _wrong(key, "a string")


def flag(wire: Wire, key: str) -> bool:
    """Read a boolean."""
    value = wire.get(key)
    return value if isinstance(value, bool) else _wrong(key, "a boolean")


def amount(wire: Wire, key: str) -> float:
    """Read a duration, or another number from 0."""
    value = wire.get(key)
    return value if _is_amount(value) else _wrong(key, "a number from 0")


def count(wire: Wire, key: str) -> int:
    """Read an integer from 0."""
    value = wire.get(key)
    return value if _is_count(value) else _wrong(key, "an integer from 0")


def mapping(wire: Wire, key: str) -> Wire:
    """Read an object."""
    value = wire.get(key)
    return value if isinstance(value, dict) else _wrong(key, "an object")


def items(wire: Wire, key: str) -> list[Any]:
    """Read a list."""
    value = wire.get(key)
    return value if isinstance(value, list) else _wrong(key, "a list")


def instant(wire: Wire, key: str) -> datetime:
    """Read an instant, as UTC."""
    value = wire.get(key)
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            if found.tzinfo is not None:
                return found.astimezone(UTC)
        except (ValueError, OverflowError):  # OverflowError: outside the years 1 to 9999 in UTC
            pass
    _wrong(key, "an instant")


def request_id(wire: Wire, key: str) -> int | str:
    """Read what a request was called."""
    value = wire.get(key)
    return value if isinstance(value, str) else count(wire, key)


def position(wire: Wire, key: str) -> Position:
    """Read a place in the log."""
    value = wire.get(key)
    if isinstance(value, list | tuple) and len(value) == 2:
        partition, offset = value
        if _is_count(partition) and _is_count(offset):
            return partition, offset
    _wrong(key, "a position")


def cursor(wire: Wire, key: str) -> Cursor:
    """Read a cursor."""
    value = mapping(wire, key)
    offsets = mapping(value, "offsets")
    for partition, offset in offsets.items():
        if not _is_partition(str(partition)) or not _is_count(offset):
            _wrong(key, "a cursor")
    return Cursor(text(value, "epoch"), offsets)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MAX_INTEGER


def _is_amount(value: object) -> TypeGuard[float]:
    # Larger ones are no durations, and nothing calculates with them.
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value <= _MAX_INTEGER
