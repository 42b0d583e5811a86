"""Who may publish and subscribe to what, out of the patterns that a principal was granted."""

from functools import lru_cache

from accounts.principal import Principal
from notifications.errors import Forbidden
from notifications.topics.grammar import is_reserved
from notifications.topics.matching import covers

REMEMBERED = 10_000
"""Pairs of grants and a topic to publish to, whose answer is remembered."""


def may_publish(principal: Principal, topic: str) -> bool:
    """Tell whether a grant covers the topic; nobody publishes to the server's own topics."""
    if is_reserved(topic):
        return False
    return principal.is_admin or _covered(principal.publish, topic)


def may_subscribe(principal: Principal, pattern: str) -> bool:
    """Tell whether one granted pattern contains everything that the pattern can match."""
    if principal.is_admin:
        return True
    if is_reserved(pattern):
        return False
    return any(covers(granted, pattern) for granted in principal.subscribe)


@lru_cache(maxsize=REMEMBERED)
def _covered(granted: tuple[str, ...], topic: str) -> bool:
    # The grants are part of what is asked, so what is remembered does not grow old.
    return any(covers(pattern, topic) for pattern in granted)


def require_admin(principal: Principal) -> None:
    """Raise Forbidden without the admin scope."""
    if not principal.is_admin:
        raise Forbidden("This needs the admin scope. Ask an operator.")


def require_publish(principal: Principal, topic: str) -> None:
    """Raise Forbidden unless the principal may publish to the topic."""
    if not may_publish(principal, topic):
        raise Forbidden(f"You have no grant to publish to {topic!r}. Ask an operator for one.")


def require_subscribe(principal: Principal, pattern: str) -> None:
    """Raise Forbidden unless the principal may subscribe to the pattern, or read its topics."""
    if not may_subscribe(principal, pattern):
        raise Forbidden(f"You have no grant to read {pattern!r}. Ask an operator for one.")
