"""How far a client has come in the log: the largest offset of each partition. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Position = tuple[int, int]
"""A durable message's place in the log: (partition, offset), offsets from 1."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log, as the wire names it.

    epoch: the life of the log. offsets: by partition (a decimal string); one that is not named
    counts as 0.
    """

    epoch: str
    offsets: Mapping[str, int]

    def to_wire(self) -> dict[str, Any]:
        """Return it as frames carry it."""
        return {"epoch": self.epoch, "offsets": dict(self.offsets)}


class CursorTrack:
    """A cursor that moves: within an epoch never back, save by `reset`.

    A mutable map rather than new objects: it moves once per message.
    """

    __slots__ = ("epoch", "offsets")

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.offsets: dict[int, int] = {}

    def covers(self, position: Position) -> bool:
        """Tell whether a position lies at or before it."""
        return position[1] <= self.offsets.get(position[0], 0)

    def advance(self, position: Position) -> None:
        """Move past a message, unless it is past it already."""
        partition, offset = position
        if offset > self.offsets.get(partition, -1):
            self.offsets[partition] = offset

    def merge(self, cursor: Cursor) -> None:
        """Take the larger offset of each partition; another epoch's cursor replaces."""
        if cursor.epoch != self.epoch:
            self.reset(cursor)
            return
        self._raise(cursor)

    def reset(self, cursor: Cursor) -> None:
        """Stand exactly there."""
        self.epoch = cursor.epoch
        self.offsets = {}
        self._raise(cursor)

    def copy(self) -> "CursorTrack":
        """Return one that stands at the same place."""
        other = CursorTrack()
        other.epoch, other.offsets = self.epoch, dict(self.offsets)
        return other

    def snapshot(self) -> Cursor | None:
        """Return it in the wire's form; None before the first cursor of a server."""
        if self.epoch is None:
            return None
        return Cursor(self.epoch, {str(number): offset for number, offset in self.offsets.items()})

    def _raise(self, cursor: Cursor) -> None:
        for partition, offset in cursor.offsets.items():
            self.advance((int(partition), offset))
