"""The settings of this app, typed: every key of settings.NOTIFICATIONS, and what it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from notifications.protocol.retries import ClientKind, read_policies
from notifications.protocol.values import Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """One immutable reading of settings.NOTIFICATIONS. Durations are seconds."""

    allowed_origins: tuple[str, ...] = ()
    """Origins (scheme://host[:port]) that may open sockets; empty: the host that was asked."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose X-Forwarded-For is believed."""
    partitions: int = 16
    """Partitions that a new log is made with; an existing log keeps its own number."""
    frame_bytes: int = 65_536
    """Largest inbound WebSocket message; larger ones close 1009."""
    buffer_bytes: int = 1_048_576
    """Bytes that may wait for one connection; more close it with 4409."""
    replay_max_messages: int = 10_000
    """Most messages that one replay may bring."""
    replay_cache_bytes: int = 67_108_864
    """Memory for recent messages of a process, so that many who come back read the log once."""
    rate_limits: bool = True
    """Whether rates and counts per user and address are enforced."""
    max_connections: int = 10_000
    """Sockets that one process serves; more are refused with 503."""
    max_connections_per_user: int = 100
    """Sockets of one user or API key that one process serves; more are refused with 4429."""
    accepts_per_second: int = 1_000
    """Sockets that one process lets in in a second; more are refused with 503."""
    metrics_token: str = ""
    """Bearer token of /metrics."""
    auth_timeout: float = 5.0
    """Time that a new socket has for its first frame."""
    heartbeat_interval: float = 30.0
    """How often a client pings."""
    heartbeat_timeout: float = 5.0
    """How long a client waits for a sign of life after a ping."""
    write_timeout: float = 30.0
    """Time in which a peer that has something to read must read some of it; else 4409."""
    retention: float = 604_800.0
    """Age at which messages may be purged."""
    idempotency: float = 86_400.0
    """How long a publish is answered as the first with its key was."""
    session: float = 604_800.0
    """How long a session can be resumed after its socket closed."""
    sweep_interval: float = 60.0
    """Pause between two runs of the sweeps."""
    retry_policies: str | Mapping[str, object] = ""
    """How clients of each kind space their reconnects, where other than protocol/retries.py says:
    an object by kind, or its JSON."""
    drain_window: float = 30.0
    """Time over which a stopping server closes its sockets."""
    embedded_sweeps: bool = True
    """Whether the server runs the sweeps itself; off where Celery beat does."""


@lru_cache(maxsize=1)
def conf() -> Conf:
    """Read the settings once; tests that override them get a fresh reading."""
    values: dict[str, Any] = {
        key.lower(): tuple(value) if isinstance(value, list) else value
        for key, value in getattr(settings, "NOTIFICATIONS", {}).items()
    }
    return Conf(**values)


@lru_cache(maxsize=1)
def retry_policies() -> Mapping[ClientKind, Retry]:
    """Return the retry policy of each kind of client; raises ValueError for a wrong setting."""
    return read_policies(conf().retry_policies)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "NOTIFICATIONS":
        conf.cache_clear()
        retry_policies.cache_clear()


setting_changed.connect(_forget)
