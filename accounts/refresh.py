"""Refresh tokens: one use each, in families; a spent one that returns ends its family.

A thief and the owner cannot both go on: the second to present a token is refused, and the tokens
of both end, since nobody can tell who is who.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.conf import conf
from accounts.errors import InvalidRefreshTokenError
from accounts.models import RefreshToken, TokenFamily, User
from accounts.signals import announce_family_revoked
from accounts.tokens import issue_access_token

PREFIX = "bwr_"
"""Lets people and scanners recognise a leaked one."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, the refresh token to follow it, and how long the first is good."""

    access: str = field(repr=False)  # neither ever reaches a log
    refresh: str = field(repr=False)
    expires_in_ms: int


def start_family(user: User) -> TokenPair:
    """Give a user who has just logged in the first tokens of a new family."""
    with transaction.atomic():
        return _next_pair(TokenFamily.objects.create(user=user), now=timezone.now())


def rotate(refresh: str) -> TokenPair:
    """Spend a refresh token for a new pair.

    Raises InvalidRefreshTokenError when it is unknown, spent, expired or revoked, or its user
    inactive. A spent one also ends its family.
    """
    now = timezone.now()
    with transaction.atomic():
        pair = _spend(refresh, now=now)
    if pair is None:
        # Outside the transaction: the refusal must not undo the revocation.
        raise InvalidRefreshTokenError
    return pair


def _spend(refresh: str, *, now: datetime) -> TokenPair | None:
    digest = _digest(refresh)
    # One statement decides who spends it, however many present it at once. All else is read after.
    spent = RefreshToken.objects.filter(digest=digest, used_at=None).update(used_at=now)
    token = RefreshToken.objects.select_related("family__user").filter(digest=digest).first()
    if token is None:
        return None
    family = token.family
    if not spent:
        if revoke(family, now=now):
            logger.warning(
                "spent refresh token returned, family revoked",
                family=str(family.pk),
                user_id=family.user_id,
            )
        return None
    if token.expires_at <= now or family.revoked_at is not None or not family.user.is_active:
        return None
    # A revocation that commits just now covers the new tokens too: it is the family's.
    return _next_pair(family, now=now)


def revoke_family(refresh: str) -> None:
    """End the family of a refresh token, spent or expired as it may be; twice is no error.

    Raises InvalidRefreshTokenError when the token is unknown.
    """
    with transaction.atomic():
        family = TokenFamily.objects.filter(refresh_tokens__digest=_digest(refresh)).first()
        if family is None:
            raise InvalidRefreshTokenError
        revoke(family)


def revoke(family: TokenFamily, *, now: datetime | None = None) -> bool:
    """End a family and announce it; False when it had ended before."""
    in_force = TokenFamily.objects.filter(pk=family.pk, revoked_at=None)
    with transaction.atomic():
        is_revoked = in_force.update(revoked_at=now or timezone.now()) == 1
        if is_revoked:
            announce_family_revoked(family=str(family.pk), user_id=family.user_id)
    return is_revoked


def revoke_families_of(user: User) -> int:
    """End all families of a user, and return how many that were."""
    with transaction.atomic():
        return sum(revoke(family) for family in user.token_families.filter(revoked_at=None))


def purge_families(*, now: datetime | None = None) -> int:
    """Delete the families whose every token has expired, and return how many that were.

    For a sweep. Spent tokens stay until then: their return has to be noticed.
    """
    at = now or timezone.now()
    # An access token may outlive the refresh token that came with it only by configuration; the
    # margin keeps its family until then.
    alive = RefreshToken.objects.filter(
        family=OuterRef("pk"), expires_at__gt=at - conf().access_token_lifetime
    )
    _, counts = TokenFamily.objects.filter(~Exists(alive)).delete()
    return counts.get(TokenFamily._meta.label, 0)


def _next_pair(family: TokenFamily, *, now: datetime) -> TokenPair:
    refresh = PREFIX + secrets.token_urlsafe(32)  # 256 random bits
    RefreshToken.objects.create(
        family=family,
        digest=_digest(refresh),
        created_at=now,
        expires_at=now + conf().refresh_token_lifetime,
    )
    issued = issue_access_token(family.user, family=family.pk, now=now)
    return TokenPair(issued.access, refresh, issued.expires_in_ms)


def _digest(refresh: str) -> str:
    # No salt and no slow hash: 256 random bits cannot be guessed.
    return hashlib.sha256(refresh.encode("utf-8", "replace")).hexdigest()
