"""System checks of the settings that this app stands on: each says what to set.

`manage.py` runs them before most commands, so a wrong setting stops a start and not a request.
"""

import sqlite3
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections

from notifications.conf import Conf, conf
from notifications.models.policy import MIN_IDEMPOTENCY
from notifications.protocol.limits import PAYLOAD_BYTES
from notifications.protocol.retries import read_policies

LEAST_SQLITE = (3, 35)
"""The first release with RETURNING, which appending to the log uses."""

LEAST_FRAME = PAYLOAD_BYTES + 4 * 1024
"""A frame has to hold the largest payload and what is around it."""

MOST_PARTITIONS = 128
"""A resuming client sends its place in each within `auth`: 8 KiB, and 256 keys in an object."""

_POSITIVE = (
    ("auth_timeout", "NOTIFICATIONS_AUTH_TIMEOUT_SECONDS"),
    ("heartbeat_interval", "NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS"),
    ("heartbeat_timeout", "NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS"),
    ("retention", "NOTIFICATIONS_RETENTION_SECONDS"),
    ("session", "NOTIFICATIONS_SESSION_SECONDS"),
    ("sweep_interval", "NOTIFICATIONS_SWEEP_INTERVAL_SECONDS"),
    ("write_timeout", "NOTIFICATIONS_WRITE_TIMEOUT_SECONDS"),
)
_NOT_NEGATIVE = (
    ("drain_window", "NOTIFICATIONS_DRAIN_WINDOW_SECONDS"),
    ("max_connections", "NOTIFICATIONS_MAX_CONNECTIONS"),
    ("max_connections_per_user", "NOTIFICATIONS_MAX_CONNECTIONS_PER_USER"),
    ("accepts_per_second", "NOTIFICATIONS_ACCEPTS_PER_SECOND"),
    ("replay_max_messages", "NOTIFICATIONS_REPLAY_MAX_MESSAGES"),
)


@register("notifications")
def check_channel_layer(**_: Any) -> list[CheckMessage]:
    """E001 and E005: there is no bus, or nobody knows where."""
    layers = getattr(settings, "CHANNEL_LAYERS", {})
    if "default" in layers:
        return _wrong_hosts(layers["default"].get("CONFIG", {}).get("hosts", ()))
    return [
        Error(
            "There is no default channel layer, so servers cannot tell each other of messages.",
            hint='Set CHANNEL_LAYERS["default"]; for one process the BACKEND '
            '"channels.layers.InMemoryChannelLayer" will do, for more set REDIS_URL.',
            id="notifications.E001",
        )
    ]


def _wrong_hosts(hosts: Iterable[Any]) -> list[CheckMessage]:
    addresses = [host.get("address", "") if isinstance(host, dict) else host for host in hosts]
    return [
        # Without the address, which may have a password in it.
        Error(
            f"Address number {place} of Redis is no URL that can be connected to.",
            hint="Set REDIS_URL to redis://host:port, rediss://host:port or unix:///path; several "
            "are separated by commas.",
            id="notifications.E005",
        )
        for place, address in enumerate(addresses, start=1)
        if isinstance(address, str) and address and not _is_redis(address)
    ]


def _is_redis(address: str) -> bool:
    try:
        parts = urlsplit(address)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in ("redis", "rediss", "unix") and bool(place) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


@register("notifications")
def check_database(**_: Any) -> list[CheckMessage]:
    """E002 and E003: the database cannot hold the log."""
    vendor = connections["default"].vendor
    if vendor not in ("sqlite", "postgresql"):
        return [
            Error(
                f"The log cannot be kept in {vendor}.",
                hint="Set DATABASE_URL to a PostgreSQL server, or leave it unset for SQLite.",
                id="notifications.E003",
            )
        ]
    if vendor == "sqlite" and sqlite3.sqlite_version_info < LEAST_SQLITE:
        return [
            Error(
                f"SQLite {sqlite3.sqlite_version} is too old: it has no RETURNING.",
                hint="Use a Python with SQLite 3.35 or newer, or set DATABASE_URL to PostgreSQL.",
                id="notifications.E002",
            )
        ]
    return []


@register("notifications")
def check_values(**_: Any) -> list[CheckMessage]:
    """E004 and W001: values that make no sense, or not together."""
    try:
        values = conf()
    except TypeError as error:
        return [
            _wrong(
                f"settings.NOTIFICATIONS cannot be read: {error}.",
                "Set only keys that are fields of notifications.conf.Conf.",
            )
        ]
    found: list[CheckMessage] = [
        *(
            _wrong(f"{variable} is {getattr(values, name)}.", f"Set {variable} above 0.")
            for name, variable in _POSITIVE
            if getattr(values, name) <= 0
        ),
        *(
            _wrong(f"{variable} is {getattr(values, name)}.", f"Set {variable} to 0 or more.")
            for name, variable in _NOT_NEGATIVE
            if getattr(values, name) < 0
        ),
        *_wrong_sizes(values),
        *_wrong_origins(values),
        *_wrong_proxies(values),
        *_wrong_policies(values),
    ]
    if values.session > values.retention:
        found.append(
            Warning(
                "Sessions can be resumed for longer than their messages are kept.",
                hint="Set NOTIFICATIONS_SESSION_SECONDS to NOTIFICATIONS_RETENTION_SECONDS or "
                "less, or leave it unset.",
                id="notifications.W001",
            )
        )
    return found


def _wrong_sizes(values: Conf) -> list[CheckMessage]:
    found = []
    if values.idempotency < MIN_IDEMPOTENCY:
        found.append(
            _wrong(
                f"NOTIFICATIONS_IDEMPOTENCY_SECONDS is {values.idempotency}: retries are promised "
                "an answer for a day.",
                f"Set NOTIFICATIONS_IDEMPOTENCY_SECONDS to {MIN_IDEMPOTENCY} or more.",
            )
        )
    if not 1 <= values.partitions <= MOST_PARTITIONS:
        found.append(
            _wrong(
                f"NOTIFICATIONS_PARTITIONS is {values.partitions}.",
                f"Set NOTIFICATIONS_PARTITIONS from 1 to {MOST_PARTITIONS}; 16 does for most.",
            )
        )
    if values.frame_bytes < LEAST_FRAME:
        found.append(
            _wrong(
                f"NOTIFICATIONS_FRAME_BYTES is {values.frame_bytes}, too small for a payload.",
                f"Set NOTIFICATIONS_FRAME_BYTES to {LEAST_FRAME} or more; 65536 is the default.",
            )
        )
    if values.buffer_bytes < 2 * values.frame_bytes:
        found.append(
            _wrong(
                f"NOTIFICATIONS_BUFFER_BYTES is {values.buffer_bytes}: a message or two fill it.",
                "Set NOTIFICATIONS_BUFFER_BYTES to twice NOTIFICATIONS_FRAME_BYTES at least; "
                "1048576 is the default.",
            )
        )
    return found


def _wrong_origins(values: Conf) -> list[CheckMessage]:
    return [
        _wrong(
            f"ALLOWED_ORIGINS has {origin!r}, which is no origin.",
            "Set ALLOWED_ORIGINS to scheme://host or scheme://host:port, without a path, "
            "separated by commas.",
        )
        for origin in values.allowed_origins
        if not _is_origin(origin)
    ]


def _wrong_proxies(values: Conf) -> list[CheckMessage]:
    return [
        _wrong(
            f"NOTIFICATIONS_TRUSTED_PROXIES has {proxy!r}, which is no address.",
            "Set NOTIFICATIONS_TRUSTED_PROXIES to IP addresses, separated by commas; names and "
            "networks are not looked up.",
        )
        for proxy in values.trusted_proxies
        if not _is_address(proxy)
    ]


def _wrong_policies(values: Conf) -> list[CheckMessage]:
    try:
        read_policies(values.retry_policies)
    except ValueError as error:
        return [
            _wrong(
                f"NOTIFICATIONS_RETRY_POLICIES cannot be read: {error}.",
                "Set a JSON object with `browser`, `mobile` or `service`, each an object with some "
                "of maxRetries, initialDelay, maxDelay, backoffMultiplier, jitter, strategy.",
            )
        ]
    return []


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and text == f"{parts.scheme}://{parts.netloc}"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _wrong(message: str, hint: str) -> CheckMessage:
    return Error(message, hint=hint, id="notifications.E004")
