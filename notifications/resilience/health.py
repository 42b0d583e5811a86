"""The health of a server as one number, by which clients that adapt space their reconnects.

The worst of a few signs counts: a server is as well as what it has least of. Each sign is 1 up to a
point at which nothing is to be feared yet, and falls evenly to LEAST where its bound is.
"""

from dataclasses import dataclass

LEAST = 0.1
"""The lowest health; a client multiplies its delays by ten at most."""

BEHIND = 0.5
"""The health of a server whose bus fails or is behind: it works, by reading the log instead."""

AWAY = 0.2
"""The health of a server that cannot read the log: who comes now is sent away again."""

CONNECTIONS = 0.8, 1.0
QUEUE = 0.25, 1.0
"""Shares of a bound at which health begins to fall, and at which it is LEAST."""

LAG = 0.1, 2.0
"""The same in seconds by which the event loop is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a server knows of itself.

    connections: those it has, as a share of its limit; 0 without one. queue: publications that wait
    for the log, as a share of the bound. lag: seconds by which its event loop was late lately.
    """

    connections: float = 0.0
    queue: float = 0.0
    lag: float = 0.0
    bus_is_behind: bool = False
    log_is_away: bool = False


def health_of(signs: Signs) -> float:
    """Return a health from LEAST to 1, to two decimals."""
    parts = [
        _falling(signs.connections, *CONNECTIONS),
        _falling(signs.queue, *QUEUE),
        _falling(signs.lag, *LAG),
        BEHIND if signs.bus_is_behind else 1.0,
        AWAY if signs.log_is_away else 1.0,
    ]
    return round(min(parts), 2)


def _falling(value: float, good: float, worst: float) -> float:
    """Return 1 up to `good`, LEAST from `worst` on, and evenly between."""
    share = min(1.0, max(0.0, (value - good) / (worst - good)))
    return 1.0 - share * (1.0 - LEAST)
