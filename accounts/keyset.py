"""The keys of access tokens: which one signs, which ones verify, and with what algorithm.

An entry of settings.ACCOUNTS["TOKEN_KEYS"] is `kid:alg:secret`. The secret is base64url: of the
key's bytes for HS256, of a PEM for RS256 and ES256. A private PEM signs and verifies, a public one
verifies only. The first entry signs. To rotate, put the new entry first and drop the old one when
its last token has expired.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from accounts.conf import conf
from accounts.derivation import derived_keys

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey

HS256_LEAST_BYTES = 32  # RFC 7518, 3.2: no shorter than the hash
RS256_LEAST_BITS = 2048  # RFC 7518, 3.3

_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key and the one algorithm that it may be used with."""

    kid: str
    algorithm: str
    verifies_with: bytes | PublicKey
    signs_with: bytes | PrivateKey | None
    """None: this key verifies only."""


@dataclass(frozen=True, slots=True)
class Keyset:
    """The keys in force."""

    signing: TokenKey
    by_kid: Mapping[str, TokenKey]


@lru_cache(maxsize=1)
def keyset() -> Keyset:
    """Return the keys in force; parsed once, since every connect verifies a token.

    Raises ImproperlyConfigured, which says what to set and never quotes a secret.
    """
    entries = conf().token_keys
    return parse_keys(entries) if entries else _keyset_of(_derived())


def parse_keys(entries: Iterable[str]) -> Keyset:
    """Parse `kid:alg:secret` entries, or raise ImproperlyConfigured."""
    return _keyset_of([_parse(place, entry) for place, entry in enumerate(entries, start=1)])


def _keyset_of(keys: list[TokenKey]) -> Keyset:
    by_kid = {key.kid: key for key in keys}
    if len(by_kid) < len(keys):
        raise ImproperlyConfigured("Two token keys have the same kid. Give each key its own.")
    if keys[0].signs_with is None:
        raise ImproperlyConfigured(
            f"Token key {keys[0].kid!r} comes first, so it has to sign, but it is a public key. "
            "Put an HS256 key or a private PEM first."
        )
    return Keyset(signing=keys[0], by_kid=by_kid)


def _derived() -> list[TokenKey]:
    # The kid follows the key, so that tokens stay good through SECRET_KEY_FALLBACKS.
    return [
        TokenKey(f"derived-{hashlib.sha256(key).hexdigest()[:8]}", "HS256", key, key)
        for key in dict.fromkeys(derived_keys("access-token"))
    ]


def _parse(place: int, entry: str) -> TokenKey:
    kid, _, rest = entry.strip().partition(":")
    algorithm, _, secret = rest.partition(":")
    if not _KID.fullmatch(kid):
        raise ImproperlyConfigured(
            f"Token key number {place} needs the form kid:alg:secret, "
            "with a kid of 1 to 64 letters, digits, '.', '_' or '-'."
        )
    if algorithm not in {"HS256", "RS256", "ES256"}:
        raise ImproperlyConfigured(
            f"Token key {kid!r} names no algorithm that is allowed. Use HS256, RS256 or ES256."
        )
    raw = _decode(kid, secret)
    if algorithm == "HS256":
        return _symmetric(kid, raw)
    return _asymmetric(kid, algorithm, raw)


def _decode(kid: str, secret: str) -> bytes:
    try:
        return base64.b64decode(
            secret.rstrip("=") + "=" * (-len(secret.rstrip("=")) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise ImproperlyConfigured(f"The secret of token key {kid!r} is not base64url.") from error


def _symmetric(kid: str, raw: bytes) -> TokenKey:
    if raw.lstrip().startswith(b"-----BEGIN"):
        raise ImproperlyConfigured(
            f"Token key {kid!r} is a PEM under HS256: whoever has the public key could sign. "
            "Use RS256 or ES256, or a random secret."
        )
    if len(raw) < HS256_LEAST_BYTES:
        raise ImproperlyConfigured(
            f"Token key {kid!r} has {len(raw)} bytes. HS256 needs {HS256_LEAST_BYTES} random bytes."
        )
    return TokenKey(kid, "HS256", raw, raw)


def _asymmetric(kid: str, algorithm: str, pem: bytes) -> TokenKey:
    key = _load_pem(kid, pem)
    public = key.public_key() if isinstance(key, PrivateKey) else key
    if algorithm == "RS256":
        fits = isinstance(public, RSAPublicKey) and public.key_size >= RS256_LEAST_BITS
        wanted = f"an RSA key of at least {RS256_LEAST_BITS} bits"
    else:
        fits = isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
        wanted = "a key on the curve P-256"
    if not fits:
        raise ImproperlyConfigured(f"Token key {kid!r} is not what {algorithm} needs: {wanted}.")
    return TokenKey(kid, algorithm, public, key if isinstance(key, PrivateKey) else None)


def _load_pem(kid: str, pem: bytes) -> PrivateKey | PublicKey:
    load = _load_private if b"PRIVATE KEY-----" in pem else load_pem_public_key
    try:
        key = load(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # TypeError: the private key is encrypted, and there is nowhere to give its password.
        raise ImproperlyConfigured(
            f"The secret of token key {kid!r} is not the base64url of an unencrypted PEM."
        ) from error
    if not isinstance(key, PrivateKey | PublicKey):
        raise ImproperlyConfigured(f"Token key {kid!r} is neither an RSA nor a P-256 key.")
    return key


def _load_private(pem: bytes) -> object:
    return load_pem_private_key(pem, password=None)


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"ACCOUNTS", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        keyset.cache_clear()


setting_changed.connect(_forget)
