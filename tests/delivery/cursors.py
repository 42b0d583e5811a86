"""A client's cursor, kept by the contract's rules; no code of the server's or of our client's."""

from typing import Any

from tests.delivery.history import Offsets, Position


def offsets_of(cursor: dict[str, Any]) -> Offsets:
    """Read the offsets of a cursor as it is on the wire."""
    return {int(partition): int(offset) for partition, offset in cursor["offsets"].items()}


class ClientCursor:
    """How far a client has processed. It never goes back, save by `set`."""

    def __init__(self) -> None:
        self.epoch = ""
        self.offsets: Offsets = {}

    def covers(self, position: Position) -> bool:
        """Tell whether a message at this position was processed, or is known not to concern us."""
        partition, offset = position
        return offset <= self.offsets.get(partition, 0)

    def handled(self, position: Position) -> None:
        """Move past a message whose handlers have finished."""
        self._raise({position[0]: position[1]})

    def merge(self, cursor: dict[str, Any]) -> None:
        """Take the larger offset of each partition; of another epoch, all of them."""
        if cursor["epoch"] != self.epoch:
            self.set(cursor)
        else:
            self._raise(offsets_of(cursor))

    def set(self, cursor: dict[str, Any]) -> None:
        """Stand where a `gap` says."""
        self.epoch = cursor["epoch"]
        self.offsets = offsets_of(cursor)

    def on_the_wire(self) -> dict[str, Any]:
        """Return the cursor as `auth.resume` carries it."""
        offsets = {str(partition): offset for partition, offset in self.offsets.items()}
        return {"epoch": self.epoch, "offsets": offsets}

    def _raise(self, offsets: Offsets) -> None:
        for partition, offset in offsets.items():
            self.offsets[partition] = max(self.offsets.get(partition, 0), offset)
