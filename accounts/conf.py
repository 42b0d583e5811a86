"""The settings of this app, typed: every key of settings.ACCOUNTS, and what it means."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """One immutable reading of settings.ACCOUNTS."""

    access_token_lifetime: timedelta = timedelta(minutes=15)
    """How long an access token is good; a leaked one does harm no longer than this."""
    refresh_token_lifetime: timedelta = timedelta(days=14)
    """How long a refresh token may wait for its one use."""
    token_keys: tuple[str, ...] = ()
    """Entries `kid:alg:secret`; the first signs, all verify. Empty: one key out of SECRET_KEY."""
    grant_validator: str = ""
    """Dotted path of a callable that raises when a topic pattern breaks the grammar."""


@lru_cache(maxsize=1)
def conf() -> Conf:
    """Read the settings once; tests that override them get a fresh reading."""
    values: dict[str, Any] = {
        key.lower(): tuple(value) if isinstance(value, list) else value
        for key, value in getattr(settings, "ACCOUNTS", {}).items()
    }
    return Conf(**values)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "ACCOUNTS":
        conf.cache_clear()


setting_changed.connect(_forget)
