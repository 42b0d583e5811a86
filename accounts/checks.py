"""System checks of settings.ACCOUNTS: each error says what to set."""

from datetime import timedelta
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from accounts.conf import conf
from accounts.grants import grant_validator
from accounts.keyset import keyset

LONGEST_ADVISED = timedelta(minutes=15)


@register("accounts")
def check_token_keys(**_: Any) -> list[CheckMessage]:
    """E001: the keys of access tokens cannot be used."""
    try:
        keyset()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint='Set NOTIFICATIONS_TOKEN_KEYS (settings.ACCOUNTS["TOKEN_KEYS"]) to '
                "kid:alg:secret[,…], or leave it empty to use SECRET_KEY.",
                id="accounts.E001",
            )
        ]
    return []


@register("accounts")
def check_grant_validator(**_: Any) -> list[CheckMessage]:
    """E002: grants cannot be validated."""
    try:
        grant_validator()
    except ImportError as error:
        return [
            Error(
                f"The validator of granted patterns cannot be used: {error}.",
                hint='Set ACCOUNTS["GRANT_VALIDATOR"] to the dotted path of a callable that '
                "raises when a pattern breaks the grammar.",
                id="accounts.E002",
            )
        ]
    return []


@register("accounts")
def check_lifetimes(**_: Any) -> list[CheckMessage]:
    """E003 and W001: how long tokens are good."""
    access, refresh = conf().access_token_lifetime, conf().refresh_token_lifetime
    if not timedelta(0) < access < refresh:
        return [
            Error(
                "An access token has to live longer than 0 s and shorter than a refresh token.",
                hint='Set NOTIFICATIONS_ACCESS_TOKEN_SECONDS (ACCOUNTS["ACCESS_TOKEN_LIFETIME"]), '
                '900 by default, or ACCOUNTS["REFRESH_TOKEN_LIFETIME"].',
                id="accounts.E003",
            )
        ]
    if access > LONGEST_ADVISED:
        return [
            Warning(
                f"Access tokens live {access.total_seconds():.0f} s. A leaked one is good so long.",
                hint="Set NOTIFICATIONS_ACCESS_TOKEN_SECONDS to 900 or less.",
                id="accounts.W001",
            )
        ]
    return []
