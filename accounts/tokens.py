"""Access tokens: short-lived signed statements of who logged in, checked without the database.

The verifier of a connect is `accounts.authentication`, which also asks the database whether the
user and the family are still welcome.
"""

import math
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt

from accounts.conf import conf
from accounts.errors import InvalidTokenError, TokenExpiredError
from accounts.keyset import keyset
from accounts.models import User

ISSUER = AUDIENCE = "bellwether"

LEEWAY = 1
"""Seconds that a token outlives `exp`, which is whole seconds rounded down: so it is good for at
least as long as was announced, and at most a second longer."""

CLOCK_SKEW = 10
"""Seconds that another server's clock may be ahead of ours when it issues a token."""

_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "jti"]
_EMPTY_REST = ".e30."  # the payload {} and no signature
_LARGEST_ID = 2**63 - 1
_LARGEST_TIME = 2**53


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A fresh access token and the milliseconds that it is good for."""

    access: str = field(repr=False)  # a token never reaches a log
    expires_in_ms: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says. expires_at: seconds since 1970."""

    user_id: int
    expires_at: float
    jti: str
    family: str | None


def issue_access_token(
    user: User, *, family: uuid.UUID | str | None = None, now: datetime | None = None
) -> IssuedToken:
    """Sign an access token for a user.

    family: the token family that can revoke it; without one it lives until it expires.
    """
    key = keyset().signing
    assert key.signs_with is not None  # a keyset is never made without
    lifetime = conf().access_token_lifetime.total_seconds()
    issued_at = int((now or datetime.now(UTC)).timestamp())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user.pk),
        "iat": issued_at,
        "exp": issued_at + math.ceil(lifetime),
        "jti": uuid.uuid4().hex,
    }
    if family is not None:
        claims["fam"] = str(family)
    text = jwt.encode(claims, key.signs_with, key.algorithm, headers={"kid": key.kid})
    return IssuedToken(access=text, expires_in_ms=int(lifetime * 1000))


def verify_access_token(text: str) -> Claims:
    """Check signature, issuer, audience and times of an access token.

    Raises TokenExpiredError for a token of ours that is too old, InvalidTokenError otherwise.
    """
    try:
        # The header names the key; the key, and not the header, names the algorithm.
        # (PyJWT decodes all parts to show one, so it is given empty others: half the time.)
        kid = jwt.get_unverified_header(text.partition(".")[0] + _EMPTY_REST).get("kid")
        key = keyset().by_kid.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise InvalidTokenError
        payload = jwt.decode(
            text,
            key.verifies_with,
            algorithms=[key.algorithm],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            # iat is checked below: it needs more leeway than exp.
            options={"require": _REQUIRED, "verify_iat": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenExpiredError from error
    except (jwt.PyJWTError, UnicodeEncodeError) as error:
        raise InvalidTokenError from error
    return _claims(payload)


def _claims(payload: dict[str, Any]) -> Claims:
    """Check the shapes that PyJWT leaves open; what passes is safe in a query."""
    issued_at, expires_at = payload["iat"], payload["exp"]
    if not (_is_time(issued_at) and _is_time(expires_at)):
        raise InvalidTokenError
    if issued_at > time.time() + CLOCK_SKEW:
        raise InvalidTokenError
    return Claims(
        user_id=_user_id(payload["sub"]),
        expires_at=float(expires_at),
        jti=payload["jti"],
        family=_family(payload.get("fam")),
    )


def _is_time(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value <= _LARGEST_TIME  # type: ignore[operator]


def _user_id(sub: str) -> int:
    if not (sub.isascii() and sub.isdecimal() and len(sub) <= len(str(_LARGEST_ID))):
        raise InvalidTokenError
    if (user_id := int(sub)) > _LARGEST_ID:
        raise InvalidTokenError
    return user_id


def _family(fam: object) -> str | None:
    if fam is None:
        return None
    try:
        return str(uuid.UUID(fam))  # type: ignore[arg-type]  # what is no text is refused here
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidTokenError from error
