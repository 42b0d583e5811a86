"""Which policy applies to a topic. Policies are few; each process keeps them for a moment."""

import time
from dataclasses import dataclass

from notifications.models import TopicPolicy
from notifications.topics.grammar import MANY, ONE
from notifications.topics.matching import matches

KEPT_SECONDS = 2.0
"""How long a process goes on with the policies that it has read."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for a topic; None where none is set. ttl in seconds."""

    pattern: str | None = None
    ttl: int | None = None
    payload_bytes: int | None = None


NO_POLICY = Policy()


class Policies:
    """All policies as they were read last, the most specific first."""

    def __init__(self) -> None:
        self._policies: list[Policy] = []
        self._read_at = float("-inf")

    def refresh(self, *, max_age: float = KEPT_SECONDS) -> None:
        """Read the policies unless they were read within `max_age` seconds; blocking."""
        now = time.monotonic()
        if now - self._read_at >= max_age:
            rows = TopicPolicy.objects.values_list("pattern", "ttl", "payload_bytes")
            self._policies = sorted((Policy(*row) for row in rows), key=_breadth)
            self._read_at = now

    def of(self, topic: str) -> Policy:
        """Return the policy of a topic as far as it is known; never blocks."""
        for policy in self._policies:
            if policy.pattern is not None and matches(policy.pattern, topic):
                return policy
        return NO_POLICY


policies = Policies()
"""The policies of this process. A server refreshes them in the background."""


def _breadth(policy: Policy) -> list[int]:
    # Compared segment by segment: a literal is narrower than "*", and "*" than "**".
    assert policy.pattern is not None
    return [{ONE: 1, MANY: 2}.get(segment, 0) for segment in policy.pattern.split(".")]
