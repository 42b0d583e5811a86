"""The splice: one connection's way from the log back to live delivery, without hole or repeat.

While a connection has a splice, live messages pass it by: it is fed from the log instead, range
after range, in offset order within each partition. It goes live in the moment in which it stands
where the hub stands, and as the hub moves in one go with what it delivers, nothing lies between.
So nothing has to be held back in memory, however long a replay takes.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from notifications.recovery.cursor import Offsets


class Range(NamedTuple):
    """Messages of a partition: those after one offset, through another."""

    partition: int
    after: int
    through: int


class Splice:
    """Where a connection stands that is fed from the log.

    place: everything at or before it has been given to the connection, or is not its business.
    partitions: those that concern it; `concern` adds others.
    """

    __slots__ = ("_partitions", "_place")

    def __init__(self, place: Sequence[int], partitions: Iterable[int]) -> None:
        self._place = list(place)
        self._partitions = sorted(set(partitions))

    @property
    def place(self) -> Offsets:
        """The offsets up to which the connection has been fed."""
        return tuple(self._place)

    def concern(self, partitions: Iterable[int]) -> None:
        """Feed these partitions too, from their place on."""
        self._partitions = sorted({*self._partitions, *partitions})

    def next(self, target: Sequence[int]) -> Range | None:
        """Return what to read next to come to a target, the lowest partition first.

        None: nothing between the two concerns this connection. It can go live at the target, which
        must not be behind it.
        """
        for partition in self._partitions:
            if self._place[partition] < target[partition]:
                return Range(partition, self._place[partition], target[partition])
        return None

    def fed(self, partition: int, through: int) -> None:
        """Note that everything of a partition through an offset was given."""
        if through > self._place[partition]:
            self._place[partition] = through
