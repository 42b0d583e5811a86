"""How long to wait before a retry. Pure: randomness is an argument."""

from typing import Protocol

MAX_RETRY_AFTER = 3_600_000.0
"""The longest wait, in milliseconds, that a server may ask for."""

JITTER = 0.3
"""Part of a delay by which jitter moves it, either way."""

LEAST_HEALTH = 0.1
"""Less health of a server than this counts as this much."""


class Policy(Protocol):
    """What of a RetryConfig makes a delay."""

    @property
    def initial_delay(self) -> float:
        """Milliseconds."""

    @property
    def max_delay(self) -> float:
        """Milliseconds."""

    @property
    def backoff_multiplier(self) -> float:
        """Factor between two delays."""

    @property
    def jitter(self) -> bool:
        """Whether delays are spread at random."""

    @property
    def strategy(self) -> str:
        """The shape of the delays."""


def backoff_delay(attempt: int, policy: Policy, *, random: float, health: float = 1.0) -> float:
    """Return the milliseconds to wait before retry `attempt` (0 is the first).

    random: in [0, 1). health: of the server, in (0, 1]; only `adaptive` looks at it.
    The result is within [0, max_delay].
    """
    delay = min(_base(attempt, policy, health), policy.max_delay)
    if policy.jitter:
        delay += delay * JITTER * (random * 2 - 1)
    return max(0.0, min(delay, policy.max_delay))


def retry_wait(*, asked: float | None, delay: float, breaker: float) -> float:
    """Return the milliseconds that are waited in the end.

    asked: the server's wish, which replaces the policy's delay. breaker: how long an open circuit
    breaker lets nothing pass; no wait is shorter.
    """
    return max(delay if asked is None else min(asked, MAX_RETRY_AFTER), breaker)


def _base(attempt: int, policy: Policy, health: float) -> float:
    if policy.strategy == "fixed":
        return policy.initial_delay
    if policy.strategy == "linear":
        return policy.initial_delay * (attempt + 1)
    try:
        delay = policy.initial_delay * float(policy.backoff_multiplier) ** attempt
    except OverflowError:  # after a thousand doublings; the cap is far below
        return policy.max_delay if policy.initial_delay else 0.0
    if policy.strategy == "adaptive":
        delay /= min(max(health, LEAST_HEALTH), 1.0)
    return delay
