"""A wrong setting stops a server that is started without manage.py, and says what to set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Env, seconds
from tests.deployment import ROOT
from tests.ports import free_port

WRONG = {
    "NOTIFICATIONS_RETRY_POLICIES": ('{"mobile": {"maxRetries": "many"}}', "mobile.maxRetries"),
    "NOTIFICATIONS_TOKEN_KEYS": ("k1:HS256:c2VjcmV0", "Set NOTIFICATIONS_TOKEN_KEYS"),
    "NOTIFICATIONS_TRUSTED_PROXIES": ("10.0.0.0/8", "to IP addresses"),
    "ALLOWED_ORIGINS": ("https://a.example/path", "to scheme://host"),
    "REDIS_URL": ("user:c2VjcmV0@localhost:6379", "to redis://host:port"),
}
"""By name: a value, and what is said of it."""


@pytest.mark.server
def test_wrong_settings_stop_a_bare_server(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    env |= {
        "DJANGO_SETTINGS_MODULE": "config.settings.development",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'unused.sqlite3'}",
        **{name: value for name, (value, _) in WRONG.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(free_port())],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    for name, (_, advice) in WRONG.items():
        assert len([line for line in said.splitlines() if name in line and advice in line]) == 1
    assert "Traceback" not in said, said
    assert "c2VjcmV0" not in said, "no secret is quoted"


def test_text_where_a_number_is_wanted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFICATIONS_PARTITIONS", "sixteen")
    monkeypatch.setenv("NOTIFICATIONS_RETENTION_SECONDS", "a week")
    with pytest.raises(ImproperlyConfigured, match=r"NOTIFICATIONS_PARTITIONS.*docs/settings\.md"):
        Env().int("NOTIFICATIONS_PARTITIONS", default=16)
    with pytest.raises(ImproperlyConfigured, match=r"NOTIFICATIONS_RETENTION_SECONDS"):
        seconds("RETENTION", 1)
