"""Cursors: how far somebody has come in each partition of the log.

On the wire a cursor is an object with an `epoch` and `offsets` by partition. Inside the server it
is a tuple with one offset for each partition, in the present epoch. What a client sends is
untrusted: `parse_cursor` turns it into offsets, or says why it cannot be used.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

Offsets: TypeAlias = tuple[int, ...]
"""One offset for each partition; everything at or below it is behind."""

_PARTITION = re.compile("0|[1-9][0-9]{0,4}")

MAX_OFFSET = 2**53 - 1
"""The largest offset that the wire carries exactly."""


class Unrecovered(StrEnum):
    """Why a replay cannot be whole, in the order in which the reasons are looked at."""

    BAD_CURSOR = "BAD_CURSOR"
    EPOCH_CHANGED = "EPOCH_CHANGED"
    BEYOND_RETENTION = "BEYOND_RETENTION"
    TOO_MANY = "TOO_MANY"


def parse_cursor(value: object, *, epoch: str, heads: Sequence[int]) -> Offsets | Unrecovered:
    """Read a cursor that a client sent, whatever it is.

    epoch, heads: of the log as it is now. A partition that the cursor does not name counts as 0.
    BAD_CURSOR: malformed, or an offset above the head, or an unknown partition. EPOCH_CHANGED:
    well-formed, and of another life of the log, whose offsets compare with nothing.
    """
    if not isinstance(value, Mapping):
        return Unrecovered.BAD_CURSOR
    theirs, offsets = value.get("epoch"), value.get("offsets")
    if not isinstance(theirs, str) or not isinstance(offsets, Mapping):
        return Unrecovered.BAD_CURSOR
    if not all(_is_entry(key, offset) for key, offset in offsets.items()):
        return Unrecovered.BAD_CURSOR
    if theirs != epoch:
        return Unrecovered.EPOCH_CHANGED
    found = [0] * len(heads)
    for key, offset in offsets.items():
        partition = int(key)
        if partition >= len(heads) or offset > heads[partition]:
            return Unrecovered.BAD_CURSOR
        found[partition] = offset
    return tuple(found)


def _is_entry(key: object, offset: object) -> bool:
    return (
        isinstance(key, str)
        and _PARTITION.fullmatch(key) is not None
        and type(offset) is int
        and 0 <= offset <= MAX_OFFSET
    )


def below(offsets: Sequence[int], floors: Sequence[int], partitions: Collection[int]) -> list[int]:
    """Return those of some partitions in which something after the offsets has been purged."""
    return [number for number in partitions if offsets[number] < floors[number]]


def later(one: Sequence[int], other: Sequence[int]) -> Offsets:
    """Return the larger offset of each partition."""
    return tuple(map(max, one, other))


def named(offsets: Sequence[int]) -> dict[str, int]:
    """Return offsets as the wire names them."""
    return {str(partition): offset for partition, offset in enumerate(offsets)}


def unnamed(offsets: Mapping[str, int], count: int) -> Offsets:
    """Return offsets that this server named before; partitions that are absent count as 0."""
    return tuple(offsets.get(str(partition), 0) for partition in range(count))


class CursorTrack:
    """A client's cursor: moves with what was handled, and never back but by `reset`."""

    __slots__ = ("epoch", "offsets")

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.offsets: dict[int, int] = {}

    def covers(self, position: tuple[int, int]) -> bool:
        """Tell whether a position is at or before the cursor."""
        partition, offset = position
        return offset <= self.offsets.get(partition, 0)

    def advance(self, position: tuple[int, int]) -> None:
        """Move to a message's position, unless the cursor is past it."""
        partition, offset = position
        if offset > self.offsets.get(partition, -1):
            self.offsets[partition] = offset

    def merge(self, epoch: str, offsets: Mapping[str, int]) -> None:
        """Take the larger offset of each partition; another epoch's offsets replace all."""
        if epoch != self.epoch:
            self.reset(epoch, offsets)
            return
        self._raise(offsets)

    def reset(self, epoch: str, offsets: Mapping[str, int]) -> None:
        """Stand exactly where the server says."""
        self.epoch = epoch
        self.offsets = {}
        self._raise(offsets)

    def snapshot(self) -> tuple[str, dict[str, int]] | None:
        """Return the epoch and the named offsets; None before the first cursor of a server."""
        if self.epoch is None:
            return None
        return self.epoch, {str(partition): offset for partition, offset in self.offsets.items()}

    def _raise(self, offsets: Mapping[str, int]) -> None:
        for partition, offset in offsets.items():
            self.advance((int(partition), offset))
