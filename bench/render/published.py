"""Figures that this repository does not reproduce: Centrifuge's, and those that lead to it.

Measured once, on 2026-11-22, on a machine with two cores under Debian 12: Centrifuge 0.15, NATS 2.9
and nchan 1.3 side by side, one server process on one core, 310 bytes to every subscriber. They
serve only as quotients: what was Centrifuge's over what was NATS's or nchan's in that run leads
from a quotient of ours with NATS or nchan to one with Centrifuge.
"""

from collections.abc import Mapping
from typing import Final

DATE: Final = "2026-11-22"

# paced_cpu: µs per delivery, 50/s to 1,000.  last_ms: of 10,000, one message.
# kib: per connection at 10,000.
PUBLISHED: Final[Mapping[str, Mapping[str, float]]] = {
    "centrifuge": {"paced_cpu": 11.8, "last_ms": 201, "kib": 30},
    "nats": {"paced_cpu": 14.6, "last_ms": 180, "kib": 25},
    "nchan": {"paced_cpu": 8.2, "last_ms": 108, "kib": 10},
}


def over_centrifuge(quotient: float | None, by: str, figure: str) -> float | None:
    """Turn ours over a peer (this run) into ours over Centrifuge, by the published quotient."""
    if quotient is None:
        return None
    return quotient * PUBLISHED[by][figure] / PUBLISHED["centrifuge"][figure]
