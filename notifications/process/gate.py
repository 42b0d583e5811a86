"""How many sockets a process lets in: in all, in a second, of an address before `auth`, of a user.

Bound of what is remembered: an entry for each address with an unauthenticated socket and for each
user with a socket, and sockets are bounded. What is counted is this process's own.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil

from notifications import metrics
from notifications.conf import conf
from notifications.errors import TooManyConnections
from notifications.resilience.bucket import TokenBucket

UNAUTHENTICATED_OF_ADDRESS = 20
"""Sockets of one address that may be open before their `auth` is accepted."""

UNAUTHENTICATED_SHARE = 0.1
"""The same of all addresses, as a share of the sockets that a process serves."""

FULL_PAUSE = 5
"""Seconds after which a client that found the server full may come again."""

USER_PAUSE = 10_000
"""Milliseconds after which a user with too many sockets may come again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An upgrade is answered with an HTTP status. retry_after: seconds."""

    status: int
    message: str
    retry_after: int | None = None


class Gate:
    """The counts of one process. now: seconds of the event loop's clock."""

    def __init__(self, *, now: float) -> None:
        rate = conf().accepts_per_second
        self._accepts = TokenBucket(rate, rate, now=now) if rate else None
        self._strangers: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._open = 0
        self._unknown = 0

    @property
    def fullness(self) -> float:
        """The sockets that are open as a share of the limit; 0 without one."""
        most = conf().max_connections
        return self._open / most if most else 0.0

    def refusal(self, address: str, *, now: float) -> Refused | None:
        """Say why a socket more is not let in, or None."""
        most = conf().max_connections
        if 0 < most <= self._open:
            return Refused(503, "This server is full. Connect again later.", FULL_PAUSE)
        if not conf().rate_limits:
            return None
        if self._strangers[address] >= UNAUTHENTICATED_OF_ADDRESS:
            return Refused(
                429,
                f"At most {UNAUTHENTICATED_OF_ADDRESS} sockets of an address may wait to be "
                "authenticated. Send `auth` on those that are open.",
                1,
            )
        if most and self._unknown >= max(UNAUTHENTICATED_OF_ADDRESS, most * UNAUTHENTICATED_SHARE):
            return Refused(503, "Too many sockets wait to be authenticated. Connect again.", 1)
        wait = self._accepts.take(now) if self._accepts is not None else 0.0
        if wait:
            return Refused(503, "Too many connect at once. Connect again.", ceil(wait))
        return None

    def enter(self, address: str) -> None:
        """Count a socket that was let in."""
        self._open += 1
        self._unknown += 1
        self._strangers[address] += 1
        self._tell()

    def leave(self) -> None:
        """Count a socket that is gone."""
        self._open -= 1
        self._tell()

    def known(self, address: str) -> None:
        """Count a socket that is authenticated, or that is gone without having been."""
        self._unknown -= 1
        _less(self._strangers, address)
        self._tell()

    def add_user(self, user: str, *, replaces: bool) -> None:
        """Count a socket of a user or an API key.

        replaces: whether it takes the place of one that is counted yet. Raises TooManyConnections,
        and counts nothing then.
        """
        most = conf().max_connections_per_user
        if conf().rate_limits and 0 < most <= self._users[user] - replaces:
            raise TooManyConnections(
                f"You have {most} connections here, and more are not allowed. Close one.",
                retry_after=USER_PAUSE,
            )
        self._users[user] += 1

    def remove_user(self, user: str) -> None:
        """Count a socket of a user that is gone."""
        _less(self._users, user)

    def _tell(self) -> None:
        metrics.connections.set(self._open)
        metrics.connections_unauthenticated.set(self._unknown)


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
