"""A process's place in a partition: what it has seen, what came early, whether a hole is open.

No I/O and no clock: records in, records that are due out. Every record leaves at most once, and in
offset order. What comes early is bounded (`EARLY_BOUND`): over it, early records are let go, and
the log brings them when the hole is filled.
"""

from collections.abc import Sequence

from notifications.log.records import Record

EARLY_BOUND = 2_000
"""Records that wait for a hole before them to be filled."""


class Place:
    """Where a process stands in one partition.

    offset: everything at or below it has been given out. Until `begin`, what is offered waits.
    """

    __slots__ = ("_early", "_open", "offset")

    def __init__(self) -> None:
        self.offset = 0
        self._open = False
        self._early: dict[int, Record] = {}

    def begin(self, head: int) -> list[Record]:
        """Stand at a head that was read from the log; return what came meanwhile and is due."""
        self.offset = head
        self._open = True
        return self._due([])

    def offer(self, records: Sequence[Record]) -> list[Record]:
        """Take records from the bus (consecutive, perhaps repeated or early); return those due."""
        if self._open and records and records[0].offset == self.offset + 1 and not self._early:
            self.offset = records[-1].offset  # the usual case: the next ones, nothing waiting
            return list(records)
        due: list[Record] = []
        for record in records:
            if self._open and record.offset == self.offset + 1:
                due.append(record)
                self.offset = record.offset
            elif record.offset > self.offset and len(self._early) < EARLY_BOUND:
                self._early[record.offset] = record
        return self._due(due) if self._open else []

    def fill(self, records: Sequence[Record], *, up_to: int) -> list[Record]:
        """Take what the log holds after `offset`, through `up_to`; return those due.

        The log is believed: offsets that it does not bring up to there have been purged.
        """
        due = [record for record in records if record.offset > self.offset]
        self.offset = max(self.offset, up_to)
        return self._due(due)

    def let_go(self, *, beyond: int) -> None:
        """Forget what came early with larger offsets: the log has none such."""
        self._early = {at: record for at, record in self._early.items() if at <= beyond}

    @property
    def has_hole(self) -> bool:
        """Whether something came early, so that what is before it is missing."""
        return self._open and bool(self._early)

    @property
    def heard(self) -> int:
        """The highest offset that is known to exist: given out, or come early."""
        return max(self._early, default=self.offset)

    @property
    def is_open(self) -> bool:
        """Whether `begin` was called."""
        return self._open

    def _due(self, due: list[Record]) -> list[Record]:
        while (record := self._early.pop(self.offset + 1, None)) is not None:
            due.append(record)
            self.offset = record.offset
        if self._early and min(self._early) <= self.offset:
            self._early = {at: r for at, r in self._early.items() if at > self.offset}
        return due
