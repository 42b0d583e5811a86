"""Where a process stands in the log: in every partition that it follows, and the log's heads.

No I/O. What moves the place hands on, in the same go, what came with it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import structlog

from notifications.hub.place import Place
from notifications.log.creation import LogIdentity
from notifications.log.read import LogState
from notifications.log.records import Record
from notifications.recovery.cursor import Offsets, later

logger = structlog.get_logger(__name__)


class Standing(ABC):
    """The place of a process, and what it knows of the log."""

    def __init__(self, identity: LogIdentity) -> None:
        self.identity = identity
        self.floors: Offsets = (0,) * identity.partition_count
        self._places: dict[int, Place] = {}
        self._heads = [0] * identity.partition_count
        self._past: set[str] = set()
        self._snapshot: Offsets | None = None

    def offsets(self) -> Offsets:
        """Return the place of all partitions."""
        # One tuple is shared by all connections until something moves.
        if self._snapshot is None:
            self._snapshot = tuple(
                place.offset if (place := self._places.get(partition)) and place.is_open else head
                for partition, head in enumerate(self._heads)
            )
        return self._snapshot

    def heads(self) -> Offsets:
        """Return the heads of all partitions as far as they are known."""
        return tuple(self._heads)

    def _behind(self, heads: Offsets) -> list[int]:
        return [
            partition
            for partition, place in self._places.items()
            if place.is_open and place.offset < heads[partition]
        ]

    def learn(self, state: LogState) -> None:
        """Take in how far the log is; begin anew when it has begun a new life."""
        if state.epoch != self.identity.epoch:
            if state.epoch not in self._past:
                self._begin_anew(state)
            return
        self.floors = later(self.floors, state.floors)
        heads = list(later(self._heads, state.heads))
        if heads != self._heads:
            self._heads = heads
            self._snapshot = None

    def _begin_anew(self, state: LogState) -> None:
        logger.warning("the log has a new epoch", before=self.identity.epoch, now=state.epoch)
        self._past.add(self.identity.epoch)
        self.identity = LogIdentity(state.epoch, self.identity.partition_count)
        self._heads, self.floors = list(state.heads), state.floors
        self._snapshot = None
        for partition, place in list(self._places.items()):
            fresh = self._places[partition] = Place()
            if place.is_open:
                fresh.begin(state.heads[partition])
        self._began_anew()

    def _moved(
        self, partition: int, records: Sequence[Record], *, after: int, floor: int = 0
    ) -> None:
        """Note that the place in a partition is not `after` any more, and hand on what was due.

        floor: that of the partition, where something may have been purged before it was read.
        """
        place = self._places[partition]
        if place.offset == after:
            return
        self._snapshot = None
        self._heads[partition] = max(self._heads[partition], place.offset)
        self._deliver(partition, records, after=after, through=place.offset, floor=floor)

    # --- What the hub does about it -------------------------------------------------------------

    @abstractmethod
    def _deliver(
        self, partition: int, records: Sequence[Record], *, after: int, through: int, floor: int
    ) -> None:
        """Take all that the log has in a partition after one offset through another.

        floor: under which it was read; 0 where nothing can have been purged before.
        """

    @abstractmethod
    def _tell_purged(self, purged: Sequence[tuple[str, int]]) -> None:
        """Take (topic, floor) where something was purged before it could be delivered."""

    @abstractmethod
    def _began_anew(self) -> None:
        """Take note that the log has begun a new life, at its present heads."""
