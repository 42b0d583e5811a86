"""The time that travels inside payloads, readable by every process of this machine."""

import time
from typing import Final

STAMP_DIGITS: Final = 16
_BASE: Final = 10 ** (STAMP_DIGITS - 1)


def stamp() -> int:
    """Return the monotonic clock in microseconds, always STAMP_DIGITS digits long.

    Linux's monotonic clock is one for all processes, and does not step as the wall clock may.
    The base gives it a fixed width, so that a reader slices it out instead of looking for its end.
    """
    return _BASE + time.monotonic_ns() // 1000
