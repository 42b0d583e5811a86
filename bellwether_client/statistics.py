"""The figures of `get_stats`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from bellwether_client.breaker import Circuit
from bellwether_client.codes import DisconnectReason

KEPT_FAILURES = 20
"""Failures that are remembered; the oldest gives way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A connection, or an attempt, that failed. at: UTC. attempt: the number of the retry."""

    at: datetime
    reason: DisconnectReason
    message: str
    attempt: int
    close_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats:
    """Figures of a client.

    messages_received: given to handlers or passed over. messages_sent: publishes that the server
    confirmed. reconnect_count: connections established again. average_latency: milliseconds, over
    all round trips. uptime: milliseconds of the present connection; 0 without one.
    last_heartbeat: UTC; the epoch before the first. waiting: messages that wait for handlers.
    failures: the last 20. circuit: the worse of the two breakers'.
    """

    messages_received: int
    messages_sent: int
    reconnect_count: int
    average_latency: float
    uptime: float
    last_heartbeat: datetime
    waiting: int
    failures: tuple[Failure, ...]
    circuit: Circuit


class Statistics:
    """Counts."""

    def __init__(self) -> None:
        self.received = 0
        self._connections = 0
        self._latencies = 0
        self._latency_sum = 0.0
        self._last_heartbeat = datetime.fromtimestamp(0, UTC)

    def connected(self, latency: float, at: datetime) -> None:
        """Note a new connection and the round trip of its handshake."""
        self._connections += 1
        self.measured(latency, at)

    def measured(self, latency: float, at: datetime) -> None:
        """Note a round trip."""
        self._latencies += 1
        self._latency_sum += latency
        self._last_heartbeat = at

    def read(
        self,
        *,
        sent: int,
        waiting: int,
        uptime: float,
        failures: Iterable[Failure],
        circuit: Circuit,
    ) -> ConnectionStats:
        """Return the figures with those that others keep."""
        return ConnectionStats(
            messages_received=self.received,
            messages_sent=sent,
            reconnect_count=max(0, self._connections - 1),
            average_latency=self._latency_sum / self._latencies if self._latencies else 0.0,
            uptime=uptime,
            last_heartbeat=self._last_heartbeat,
            waiting=waiting,
            failures=tuple(failures),
            circuit=circuit,
        )
