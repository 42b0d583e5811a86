"""Keys for one purpose each, derived from SECRET_KEY, so that no two uses share a key."""

import hmac
from functools import lru_cache

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.encoding import force_bytes


@lru_cache(maxsize=8)
def derived_keys(purpose: str) -> tuple[bytes, ...]:
    """Return 32-byte keys for a purpose: SECRET_KEY's first, then one per SECRET_KEY_FALLBACKS.

    The first makes new secrets; the others let old ones verify while SECRET_KEY is rotated.
    """
    return tuple(
        hmac.digest(force_bytes(secret), f"bellwether.accounts.{purpose}".encode(), "sha256")
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    )


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        derived_keys.cache_clear()


setting_changed.connect(_forget)
