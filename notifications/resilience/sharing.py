"""A bound that holders share: what is full for one of them is not yet full for the others.

A holder may have as much as is still free for anybody: alone, that is half of all, and with k
that are greedy each has 1/(k + 1), so that there is always something left for the next. It is the
dynamic threshold by which switches share their buffers (Choudhury and Hahne, IEEE/ACM Transactions
on Networking 6(2), 1998), with a factor of one.
"""

from enum import Enum


class Room(Enum):
    """Whether there is room for something."""

    FREE = "free"
    FULL = "full"
    """There is not, for nobody."""
    OVER_SHARE = "over share"
    """There is, but not for who holds that much already."""


class SharedBound:
    """A bound on the sum of what holders hold, in units of whatever is counted."""

    __slots__ = ("_held", "bound", "used")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.used = 0
        self._held: dict[str, int] = {}

    @property
    def fullness(self) -> float:
        """What is held of it, from 0 to 1."""
        return self.used / self.bound if self.bound else 1.0

    def room(self, holder: str, amount: int) -> Room:
        """Tell whether a holder may have so much more; takes nothing."""
        free = self.bound - self.used
        if amount > free:
            return Room.FULL
        held = self._held.get(holder)
        # Who has nothing yet may have what is there: one batch is no greed.
        return Room.OVER_SHARE if held is not None and held + amount > free else Room.FREE

    def take(self, holder: str, amount: int) -> None:
        """Count so much for a holder, whatever `room` says."""
        self.used += amount
        self._held[holder] = self._held.get(holder, 0) + amount

    def give_back(self, holder: str, amount: int) -> None:
        """Count so much less for a holder, who has taken it."""
        self.used -= amount
        left = self._held[holder] - amount
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
