"""What the client takes from its surroundings, so that a test can give it something else."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bellwether_client.transport import Transport, WebSockets


def _now() -> float:
    return time.time() * 1_000


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Network, clocks and chance. The event loop's clock is the one for durations.

    now: milliseconds since the Unix epoch. random: in [0, 1). new_id: 128 random bits as text.
    """

    transport: Transport = field(default_factory=WebSockets)
    now: Callable[[], float] = _now
    random: Callable[[], float] = random.random
    new_id: Callable[[], str] = _new_id

    def elapsed(self) -> float:
        """Return milliseconds on a clock that nobody sets."""
        return asyncio.get_running_loop().time() * 1_000

    def after(self, delay: float, run: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `run` in so many milliseconds."""
        return asyncio.get_running_loop().call_later(delay / 1_000, run)

    def instant(self, later: float = 0.0) -> datetime:
        """Return the time, or that in so many milliseconds, as UTC."""
        return datetime.fromtimestamp((self.now() + later) / 1_000, UTC)
