"""The text of API keys: `bw_<identifier>_<secret>`, of which the database holds an HMAC only."""

import hmac
import re
import secrets
import string
from dataclasses import dataclass

from accounts.derivation import derived_keys

PREFIX = "bw_"

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 32  # of 62 signs: 190 random bits
_TEXT = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})")


@dataclass(frozen=True, slots=True)
class KeyText:
    """The two halves of an API key."""

    identifier: str
    """Public: 12 hex digits."""
    secret: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.identifier}_{self.secret}"

    def __repr__(self) -> str:
        return f"KeyText({self.identifier!r})"  # the secret never reaches a log


def generate() -> KeyText:
    """Make a new key."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return KeyText(secrets.token_hex(6), secret)


def parse(text: str) -> KeyText | None:
    """Return the halves of a key, or None when the text has another form."""
    match = _TEXT.fullmatch(text)
    return KeyText(*match.groups()) if match else None


def digest_of(secret: str) -> str:
    """Return the HMAC that is stored: hex, under the server's current pepper."""
    return _digest(derived_keys("api-key")[0], secret)


def matches(secret: str, stored: str | None) -> bool:
    """Compare a secret with a stored digest, None for an unknown identifier.

    It takes the same time whether the key is unknown, wrong or right: every pepper is tried, and
    an unknown key is compared with a digest that nothing has.
    """
    expected = stored or "-" * 64
    found = False
    for pepper in derived_keys("api-key"):
        found |= hmac.compare_digest(_digest(pepper, secret), expected)
    return found and stored is not None


def _digest(pepper: bytes, secret: str) -> str:
    return hmac.digest(pepper, secret.encode(), "sha256").hex()
