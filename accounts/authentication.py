"""Credentials in, a principal out: the socket's `auth.token` and REST's three ways to log in.

Queries: one for an access token, one for an API key (and an UPDATE at most once a minute, see
`LAST_USED_STEP`), one for a browser session on top of Django's own two.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import ClassVar

import structlog
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import api_keys
from accounts.api_keys import KeyText
from accounts.errors import CredentialsError, InvalidApiKeyError, InvalidTokenError
from accounts.models import ApiKey
from accounts.principal import Principal
from accounts.selectors import (
    KeyRecord,
    UserProof,
    find_key,
    find_keys,
    find_user,
    find_users,
    principal_of_user,
)
from accounts.tokens import verify_access_token

__all__ = [
    "ApiKeyAuthentication",
    "BearerAuthentication",
    "BrowserSessionAuthentication",
    "answering_401",
    "authenticate_all",
    "authenticate_credentials",
    "principal_of_user",
    "reload_principal",
]

CHALLENGE = 'Bearer realm="bellwether"'
"""WWW-Authenticate of every 401: RFC 6750, section 3."""

LAST_USED_STEP = timedelta(minutes=1)
"""How exact `ApiKey.last_used_at` is: a key that is used all the time costs one write a minute."""

logger = structlog.get_logger(__name__)


def authenticate_credentials(text: str) -> Principal:
    """Return who an access token or an API key proves; the prefix tells them apart.

    Raises TokenExpiredError, or another CredentialsError with the code UNAUTHENTICATED.
    """
    proven = authenticate_all([text])[text]
    if isinstance(proven, CredentialsError):
        raise proven
    return proven


def authenticate_all(texts: Iterable[str]) -> dict[str, Principal | CredentialsError]:
    """The same for many at once, by their text: a query for the tokens, one for the keys."""
    proven: dict[str, Principal | CredentialsError] = {}
    proofs: dict[str, UserProof] = {}
    keys: dict[str, KeyText] = {}
    for text in dict.fromkeys(texts):
        try:
            if text.startswith(api_keys.PREFIX):
                keys[text] = _parsed(text)
            else:
                claims = verify_access_token(text)
                proofs[text] = UserProof(claims.user_id, claims.family, claims.expires_at)
        except CredentialsError as error:
            proven[text] = error
    if proofs:
        for text, found in zip(proofs, find_users(list(proofs.values())), strict=True):
            proven[text] = found or InvalidTokenError()
    if keys:
        proven |= _prove_keys(keys)
    return proven


def principal_of_access_token(text: str) -> Principal:
    """Verify an access token, and that its user is active and its family in force."""
    claims = verify_access_token(text)
    principal = find_user(claims.user_id, family=claims.family, expires_at=claims.expires_at)
    if principal is None:
        raise InvalidTokenError
    return principal


def principal_of_api_key(text: str) -> Principal:
    """Verify an API key. Unknown, wrong, expired and revoked are answered alike."""
    proven = _prove_keys({text: _parsed(text)})[text]
    if isinstance(proven, CredentialsError):
        raise proven
    return proven


def _parsed(text: str) -> KeyText:
    key = api_keys.parse(text)
    if key is None:
        raise InvalidApiKeyError
    return key


def _prove_keys(keys: Mapping[str, KeyText]) -> dict[str, Principal | CredentialsError]:
    identifiers = {key.identifier for key in keys.values()}
    records = find_keys(identifiers, now=timezone.now(), noted_within=LAST_USED_STEP)
    proven: dict[str, Principal | CredentialsError] = {}
    for text, key in keys.items():
        record = records.get(key.identifier)
        # The comparison comes first, and happens in any case: time tells nothing about the cause.
        is_right = api_keys.matches(key.secret, record.digest if record else None)
        if record is None or not is_right or not record.is_in_force:
            proven[text] = InvalidApiKeyError()
            continue
        if not record.is_use_noted:
            _note_use(record, key.secret)
        proven[text] = record.principal
    return proven


def reload_principal(principal: Principal) -> Principal:
    """Read again what a principal may do now, in one query; its times stay as they are.

    For live connections, after `accounts.signals.access_changed`. Raises CredentialsError when it
    may do nothing any more: user inactive, family or key revoked, key expired.
    """
    if principal.user_id is not None:
        current = find_user(
            principal.user_id, family=principal.family, expires_at=principal.expires_at
        )
        if current is None:
            raise InvalidTokenError
        return current
    identifier = principal.id.removeprefix("key:")
    record = find_key(identifier, now=timezone.now(), noted_within=LAST_USED_STEP)
    if record is None or not record.is_in_force:
        raise InvalidApiKeyError
    return record.principal


def _note_use(record: KeyRecord, secret: str) -> None:
    now = timezone.now()
    # The condition again in SQL: of many servers that come here at once, one writes.
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_STEP)
    try:
        # The digest too: it moves from an older SECRET_KEY's pepper to the current one's.
        ApiKey.objects.filter(unnoted, pk=record.pk).update(
            last_used_at=now, digest=api_keys.digest_of(secret)
        )
    except DatabaseError as error:
        # Who may come in does not depend on a note about it.
        logger.warning("use of API key not noted", key=record.principal.id, error=str(error))


@contextmanager
def answering_401() -> Iterator[None]:
    """Turn refused credentials into REST framework's AuthenticationFailed, with our code."""
    try:
        yield
    except CredentialsError as error:
        raise AuthenticationFailed(str(error), code=error.code) from error


class _HeaderAuthentication(BaseAuthentication):
    """`Authorization: <scheme> <credentials>`; request.user and request.auth are the principal."""

    scheme: ClassVar[str]

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        """Return the principal twice, or None when the request uses another scheme."""
        scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != self.scheme.lower():
            return None
        with answering_401():
            principal = self.principal_of(credentials.strip())
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        """Make a refusal 401, and not 403."""
        return CHALLENGE

    def principal_of(self, credentials: str) -> Principal:
        """Return who the credentials prove, or raise CredentialsError."""
        raise NotImplementedError


class BearerAuthentication(_HeaderAuthentication):
    """`Authorization: Bearer <access token>`."""

    scheme = "Bearer"

    def principal_of(self, credentials: str) -> Principal:
        """Verify an access token."""
        return principal_of_access_token(credentials)


class ApiKeyAuthentication(_HeaderAuthentication):
    """`Authorization: Api-Key <key>`."""

    scheme = "Api-Key"

    def principal_of(self, credentials: str) -> Principal:
        """Verify an API key."""
        return principal_of_api_key(credentials)


class BrowserSessionAuthentication(SessionAuthentication):
    """Django's session cookie, with CSRF enforced."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        """Return the principal of the logged-in user twice, or None when nobody is."""
        found = super().authenticate(request)
        if found is None:
            return None
        principal = principal_of_user(found[0])
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        """Make a refusal 401 where this is the only way to log in."""
        return CHALLENGE

    def enforce_csrf(self, request: Request) -> None:
        """Check the token on Django's own request.

        It looks for a form field first; REST framework's request would parse the body for that,
        with the view's parsers, which a view that reads its body itself does not have.
        """
        super().enforce_csrf(request._request)  # type: ignore[arg-type]
