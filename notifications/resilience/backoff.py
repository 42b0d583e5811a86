"""Backoff: how long to wait before a retry. Randomness is an argument, so is the attempt.

The same formula is in the browser's client (browser/src/client/backoff.ts): exponential growth
with a cap, spread by jitter so that the clients of a restarted server do not return as one.
"""

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["exponential", "linear", "fixed", "adaptive"]

JITTER = 0.3
"""Part of a delay by which jitter moves it, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How retries are spaced; the fields are those of `auth_success.retry`.

    max_retries: 0 means without end.
    initial_delay, max_delay: milliseconds.
    backoff_multiplier: factor between two delays.
    jitter: whether delays are spread at random.
    strategy: the shape of the delays; `adaptive` grows exponentially where nobody adapts it.
    """

    max_retries: int = 10
    initial_delay: float = 1_000
    max_delay: float = 30_000
    backoff_multiplier: float = 2.0
    jitter: bool = True
    strategy: Strategy = "exponential"

    def allows(self, attempt: int) -> bool:
        """Tell whether retry `attempt` (0 is the first) may be made."""
        return self.max_retries == 0 or attempt < self.max_retries


def backoff_delay(attempt: int, policy: RetryPolicy, *, random: float) -> float:
    """Return the milliseconds to wait before retry `attempt`, within [0, max_delay].

    attempt: 0 is the first retry.
    random: in [0, 1), as random.random() gives it; not looked at without jitter.
    """
    delay = min(_base(attempt, policy), policy.max_delay)
    if policy.jitter:
        delay += delay * JITTER * (random * 2 - 1)
    # Jitter may lift a delay over the cap, and a negative multiplier turns one below zero.
    return max(0.0, min(delay, policy.max_delay))


def _base(attempt: int, policy: RetryPolicy) -> float:
    if policy.strategy == "fixed":
        return policy.initial_delay
    if policy.strategy == "linear":
        return policy.initial_delay * (attempt + 1)
    try:
        return policy.initial_delay * policy.backoff_multiplier**attempt
    except OverflowError:  # after a thousand doublings; the cap is far below
        return policy.max_delay if policy.initial_delay else 0.0
