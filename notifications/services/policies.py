"""Which policy applies to a topic, and how policies are changed.

Policies are few; each process keeps them for a moment.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction

from notifications.errors import BadFrame
from notifications.models import TopicPolicy
from notifications.models.policy import lock_policies
from notifications.topics.grammar import MANY, ONE, parse_pattern
from notifications.topics.handling import PLAIN, Handling, Overflow, window_of
from notifications.topics.matching import matches

KEPT_SECONDS = 2.0
"""How long a process goes on with the policies that it has read."""

REMEMBERED = 10_000
"""Topics whose policy is remembered between two readings; more are looked up anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules for a topic; None where none is set. The fields are those of TopicPolicy."""

    pattern: str | None = None
    ephemeral: bool = False
    ttl: int | None = None
    retention: int | None = None
    retention_count: int | None = None
    retention_bytes: int | None = None
    idempotency: int | None = None
    payload_bytes: int | None = None
    replay_messages: int | None = None
    batch_size: int | None = None
    batch_delay: int | None = None
    overflow: str | None = None
    acknowledged: bool = False
    ack_timeout: int | None = None
    ack_attempts: int | None = None


FIELDS = tuple(Policy.__dataclass_fields__)
"""The columns that are read, in the order of the record's fields."""

RULES = FIELDS[1:]
"""The columns that hold rules."""

NO_POLICY = Policy()


class Policies:
    """All policies as they were read last, the most specific first."""

    def __init__(self) -> None:
        self._policies: list[Policy] = []
        self._known: dict[str, Policy] = {}
        self._handlings: dict[Policy, Handling] = {}
        self._read_at = float("-inf")

    def refresh(self, *, max_age: float = KEPT_SECONDS) -> None:
        """Read the policies unless they were read within `max_age` seconds; blocking."""
        now = time.monotonic()
        if now - self._read_at >= max_age:
            rows = TopicPolicy.objects.values(*FIELDS)
            self._policies = sorted((Policy(**row) for row in rows), key=_breadth)
            self._known, self._handlings = {}, {}
            self._read_at = now

    def of(self, topic: str) -> Policy:
        """Return the policy of a topic as far as it is known; never blocks."""
        if not self._policies:
            return NO_POLICY
        known = self._known
        policy = known.get(topic)
        if policy is None:
            policy = self._find(topic)
            if len(known) < REMEMBERED:
                known[topic] = policy
        return policy

    def handling_of(self, topic: str) -> Handling:
        """Return how a topic's live messages are handled, as far as it is known; never blocks."""
        if not self._policies:
            return PLAIN
        policy = self.of(topic)
        handling = self._handlings.get(policy)
        if handling is None:
            handling = self._handlings[policy] = _handling(policy)
        return handling

    def __iter__(self) -> Iterator[Policy]:
        """Iterate over all policies, the most specific first."""
        return iter(self._policies)

    def _find(self, topic: str) -> Policy:
        for policy in self._policies:
            if policy.pattern is not None and matches(policy.pattern, topic):
                return policy
        return NO_POLICY


policies = Policies()
"""The policies of this process. A server refreshes them in the background."""


def set_policy(pattern: str, rules: Mapping[str, int | bool | str | None]) -> TopicPolicy:
    """Set rules of a pattern's policy, which is made if need be; what is not named stays.

    rules: by the names in RULES. Raises BadTopic, and BadFrame that says which rule is wrong.
    """
    parse_pattern(pattern)
    with transaction.atomic():
        lock_policies()
        found = TopicPolicy.objects.select_for_update().filter(pattern=pattern).first()
        policy = found or TopicPolicy(pattern=pattern)
        for name, value in rules.items():
            setattr(policy, name, value)
        try:
            policy.full_clean()
        except ValidationError as error:
            raise BadFrame(_said(error)) from error
        policy.save()
    return policy


def delete_policy(pattern: str) -> bool:
    """Delete a pattern's policy; tell whether there was one."""
    return TopicPolicy.objects.filter(pattern=pattern).delete()[0] > 0


def _handling(policy: Policy) -> Handling:
    return Handling(
        window=window_of(policy.batch_size, policy.batch_delay),
        overflow=Overflow(policy.overflow or Overflow.DROP_OLDEST),
    )


def _said(error: ValidationError) -> str:
    return " ".join(
        " ".join(messages) if name == "__all__" else f"{name}: {' '.join(messages)}"
        for name, messages in error.message_dict.items()
    )


def _breadth(policy: Policy) -> list[int]:
    # Compared segment by segment: a literal is narrower than "*", and "*" than "**".
    assert policy.pattern is not None
    return [{ONE: 1, MANY: 2}.get(segment, 0) for segment in policy.pattern.split(".")]
