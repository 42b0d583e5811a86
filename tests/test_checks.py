import json
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.core.checks import run_checks

from notifications import checks
from notifications.protocol.client_frames import Auth
from notifications.protocol.codec import JSON, MSGPACK, Codec
from notifications.protocol.limits import AUTH_BYTES


def found() -> list[str]:
    """The ids of what the checks of this app find, each of which must say what to set."""
    messages = run_checks(tags=["notifications"])
    assert all(re.search("Set |Use ", message.hint or "") for message in messages)
    return [str(message.id) for message in messages]


def test_the_settings_of_the_tests_are_fine() -> None:
    assert found() == []


@pytest.mark.parametrize("layers", [{}, {"other": {"BACKEND": "x"}}])
def test_a_default_layer_is_needed(settings: Any, layers: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers
    assert found() == ["notifications.E001"]


@pytest.mark.parametrize(
    ("address", "is_fine"),
    [
        ("redis://localhost", True),
        ("rediss://user:secret@a.example:6380/1", True),
        ("unix:///run/redis.sock", True),
        ("localhost:6379", False),
        ("redis://", False),
        ("redis://localhost:none", False),
        ("http://localhost", False),
    ],
)
def test_a_redis_is_named_by_a_url(settings: Any, address: str, is_fine: bool) -> None:
    host = {"address": address, "socket_timeout": 5}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "x", "CONFIG": {"hosts": [host]}}}
    assert found() == ([] if is_fine else ["notifications.E005"])


def test_an_old_sqlite_is_refused_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Databases(dict[str, Any]):
        vendor = "sqlite"

    monkeypatch.setattr(checks, "connections", {"default": Databases})
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert found() == ["notifications.E002"]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    assert found() == []
    Databases.vendor = "postgresql"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert found() == []
    Databases.vendor = "mysql"
    assert found() == ["notifications.E003"]


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ({"AUTH_TIMEOUT": 0}, ["notifications.E004"]),
        ({"HEARTBEAT_INTERVAL": 0, "HEARTBEAT_TIMEOUT": -1}, ["notifications.E004"] * 2),
        ({"DRAIN_WINDOW": 0, "MAX_CONNECTIONS": 0}, []),
        ({"DRAIN_WINDOW": -1}, ["notifications.E004"]),
        ({"PARTITIONS": 0}, ["notifications.E004"]),
        ({"PARTITIONS": checks.MOST_PARTITIONS}, []),
        ({"PARTITIONS": checks.MOST_PARTITIONS + 1}, ["notifications.E004"]),
        ({"FRAME_BYTES": 1000}, ["notifications.E004"]),
        ({"BUFFER_BYTES": 1000}, ["notifications.E004"]),
        ({"IDEMPOTENCY": 86_399}, ["notifications.E004"]),
        ({"IDEMPOTENCY": 86_400}, []),
        ({"RETENTION": 60, "SESSION": 61}, ["notifications.W001"]),
        ({"RETENTION": 60, "SESSION": 60}, []),
        ({"ALLOWED_ORIGINS": ["https://a.example", "http://[::1]:8000"]}, []),
        ({"ALLOWED_ORIGINS": ["a.example", "https://a.example/", "*"]}, ["notifications.E004"] * 3),
        ({"TRUSTED_PROXIES": ["10.0.0.1", "::1"]}, []),
        ({"TRUSTED_PROXIES": ["10.0.0.0/8", "proxy"]}, ["notifications.E004"] * 2),
        ({"WRITE_TIMEOUT": 0}, ["notifications.E004"]),
        ({"RETRY_POLICIES": '{"service": {"maxDelay": 60000}}'}, []),
        ({"RETRY_POLICIES": {"service": {"maxDelay": 60_000}}}, []),
        ({"RETRY_POLICIES": '{"robot": {}}'}, ["notifications.E004"]),
        ({"RETRY_POLICIES": "not json"}, ["notifications.E004"]),
        ({"NEW_KEY": 1}, ["notifications.E004"]),
    ],
)
def test_values(settings: Any, values: dict[str, Any], ids: list[str]) -> None:
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | values
    assert found() == ids


@pytest.mark.parametrize(
    ("codec", "encode"),
    [(JSON, json.dumps), (MSGPACK, msgspec.msgpack.encode)],
    ids=["json", "msgpack"],
)
def test_a_client_of_the_largest_log_can_resume(codec: Codec, encode: Callable[[Any], Any]) -> None:
    offsets = {str(partition): 2**53 - 1 for partition in range(checks.MOST_PARTITIONS)}
    resume = {"sessionId": "s" * 64, "cursor": {"epoch": "e" * 32, "offsets": offsets}}
    data = encode({"type": "auth", "token": "t" * 2048, "clientId": "c" * 64, "resume": resume})
    raw = data.encode() if isinstance(data, str) else data
    assert len(raw) <= AUTH_BYTES
    assert isinstance(codec.decode_inbound(raw), Auth)
