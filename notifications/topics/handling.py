"""How live messages of a topic are handled on their way to a connection. No I/O."""

from dataclasses import dataclass
from enum import StrEnum

WINDOW_SIZE = 50
"""Messages of a window where only its delay is set."""

WINDOW_DELAY = 100
"""Milliseconds of a window where only its size is set."""


class Overflow(StrEnum):
    """What gives way when more waits for a connection than its buffer holds.

    Whatever is dropped is counted and told in a `gap`. A message of the log is never dropped: its
    connection is closed and resumes.
    """

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    CONFLATE = "conflate"


@dataclass(frozen=True, slots=True)
class Window:
    """How long a message may wait for others.

    size: messages that end the waiting. delay: seconds after which it ends in any case.
    """

    size: int
    delay: float


def window_of(size: int | None, delay: int | None) -> Window | None:
    """Make a window of a size in messages and a delay in milliseconds; None for no waiting."""
    if (size is None and delay is None) or size == 1 or delay == 0:
        return None
    milliseconds = WINDOW_DELAY if delay is None else delay
    return Window(size or WINDOW_SIZE, milliseconds / 1000)


@dataclass(frozen=True, slots=True)
class Handling:
    """What a topic's policy says of it.

    overflow: for its ephemeral messages; those of the log always disconnect.
    """

    window: Window | None = None
    overflow: Overflow = Overflow.DROP_OLDEST


PLAIN = Handling()
"""Where no policy says anything."""
