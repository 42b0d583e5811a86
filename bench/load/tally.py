"""What all subscribers of a process have received, and when."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from bench.load.frames import Frame, Opcode, split
from bench.load.stamps import find_stamps

# Reads worth remembering. In a paced run each message is one of them; joined writes give larger
# and rarer ones. 64 of at most 256 KiB (uvloop's read buffer) bound the memory.
_REMEMBERED: Final = 64
_CARRIERS: Final = (Opcode.TEXT, Opcode.BINARY)
_REFUSAL: Final = b'"type":"error"'


class Batch(NamedTuple):
    """What one read holds: the stamps of its messages, other frames, the unfinished rest."""

    stamps: tuple[int, ...]
    stamp_sum: int
    others: tuple[Frame, ...]
    rest: bytes


def parse(data: bytes) -> Batch:
    """Read the frames in `data`; what carries stamps is messages, all else is among `others`."""
    frames, rest = split(data)
    stamps: list[int] = []
    others: list[Frame] = []
    for frame in frames:
        found = find_stamps(frame.payload) if frame.opcode in _CARRIERS else None
        if found:
            stamps.extend(found)
        else:
            others.append(frame)
    return Batch(tuple(stamps), sum(stamps), tuple(others), rest)


class Tally:
    """Counts deliveries and their latencies over all connections of this process.

    received: deliveries so far.  last: the stamp of the newest read.
    latencies: microseconds from the publish to the read, one per delivery.
    answers, refusals: what else the server said, and how much of that was errors.
    """

    __slots__ = (
        "_awaited",
        "_reached",
        "_seen",
        "answers",
        "last",
        "latencies",
        "received",
        "refusals",
    )

    def __init__(self) -> None:
        self.received = 0
        self.answers = 0
        self.refusals = 0
        self.last = 0
        self.latencies: list[int] = []
        self._seen: dict[bytes, Batch] = {}
        self._awaited: float = math.inf
        self._reached: Callable[[], object] = int

    def read(self, data: bytes, now: int) -> Batch:
        """Count the messages in `data`, read at `now`, and return what it holds.

        A fan-out sends the same bytes to everyone, so most reads equal an earlier one of another
        connection: a lookup by the bytes is a fraction of parsing them again.
        """
        batch = self._seen.get(data)
        if batch is None:
            batch = parse(data)
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[data] = batch
        stamps = batch.stamps
        if len(stamps) == 1:
            self.latencies.append(now - stamps[0])
        else:
            self.latencies.extend([now - stamp for stamp in stamps])
        self.received += len(stamps)
        self.last = now
        if self.received >= self._awaited:
            self._reached()
        return batch

    def answered(self, payload: bytes) -> None:
        """Count an answer to a heartbeat or a request."""
        self.answers += 1
        if _REFUSAL in payload:
            self.refusals += 1

    def at(self, received: int, call: Callable[[], object]) -> None:
        """Call `call` once there are `received` deliveries; it may be called again after that."""
        self._awaited, self._reached = received, call
        if self.received >= received:
            call()

    def restart(self) -> None:
        """Forget all deliveries."""
        self.received = 0
        self.latencies = []
        self._seen.clear()
        self._awaited = math.inf
