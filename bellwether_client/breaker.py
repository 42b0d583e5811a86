"""The circuit breaker: keeps away from what has failed several times in a row. Pure.

closed ── threshold failures in a row ──▶ open ── an attempt ──▶ half-open ── success ──▶ closed
                                            ▲                        │
                                            └──────── failure ───────┘
"""

from typing import Literal

Circuit = Literal["closed", "half-open", "open"]

_BADNESS: tuple[Circuit, ...] = ("closed", "half-open", "open")


class Breaker:
    """One breaker. Times are milliseconds of a clock that nobody sets.

    failure_threshold: failures in a row that open it. reset_timeout: how long nothing may be
    attempted then of the client's own accord; an attempt that the application asks for may.
    """

    def __init__(self, failure_threshold: int, reset_timeout: float) -> None:
        self._threshold = failure_threshold
        self._reset_timeout = reset_timeout
        self._failures = 0
        self._opened_at = 0.0
        self.circuit: Circuit = "closed"

    def wait(self, now: float) -> float:
        """Return the milliseconds until an attempt may be made."""
        if self.circuit != "open":
            return 0.0
        return max(0.0, self._opened_at + self._reset_timeout - now)

    def attempt(self) -> None:
        """Note that an attempt begins."""
        if self.circuit == "open":
            self.circuit = "half-open"

    def succeeded(self) -> None:
        """Note that an attempt succeeded."""
        self._failures = 0
        self.circuit = "closed"

    def failed(self, now: float) -> None:
        """Note that an attempt failed."""
        self._failures += 1
        if self.circuit != "closed" or self._failures >= self._threshold:
            self.circuit = "open"
            self._opened_at = now


def worse(one: Circuit, other: Circuit) -> Circuit:
    """Return the one that is further from closed."""
    return max(one, other, key=_BADNESS.index)
