"""Writes: log in, make users and API keys, give and take grants. One transaction each."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.models import update_last_login
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import api_keys
from accounts.errors import LoginRefusedError, NameTakenError
from accounts.models import ApiKey, TopicGrant, User
from accounts.refresh import TokenPair, start_family

Patterns = Iterable[str]


def log_in(*, username: str, password: str, request: HttpRequest | None = None) -> TokenPair:
    """Check a password and start a token family.

    Raises LoginRefusedError. Django's backend hashes once in each case, so that unknown users,
    wrong passwords and inactive users cannot be told apart by time either.
    """
    name = User.normalize_username(username)
    user = authenticate(request, username=name, password=password)
    if user is None:
        raise LoginRefusedError
    assert isinstance(user, User)
    with transaction.atomic():
        update_last_login(None, user)  # type: ignore[arg-type]  # the sender is not looked at
        return start_family(user)


@transaction.atomic
def create_user(
    *, username: str, password: str | None, publish: Patterns = (), subscribe: Patterns = ()
) -> User:
    """Make a user with grants; without a password nobody can log in as it.

    Raises NameTakenError, or ValidationError for a bad name or pattern; then nothing was made.
    """
    user = User(username=User.normalize_username(username))
    user.set_password(password)
    user.clean_fields()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise NameTakenError(f"There is a user named {username!r} already.") from error
    grant(user, publish=publish, subscribe=subscribe)
    return user


@transaction.atomic
def ensure_user(
    *, username: str, password: str | None, publish: Patterns = (), subscribe: Patterns = ()
) -> tuple[User, bool]:
    """Return the user of that name with at least these grants, and whether it was made now.

    An existing user keeps its password.
    """
    name = User.normalize_username(username)
    try:
        user = User.objects.get(username=name)
    except ObjectDoesNotExist:
        return (
            create_user(username=name, password=password, publish=publish, subscribe=subscribe),
            True,
        )
    grant(user, publish=publish, subscribe=subscribe)
    return user, False


@transaction.atomic
def create_api_key(
    *,
    name: str,
    publish: Patterns = (),
    subscribe: Patterns = (),
    owner: User | None = None,
    is_admin: bool = False,
) -> tuple[ApiKey, str]:
    """Make an API key with grants, and return it with its text, which cannot be had again.

    Raises NameTakenError, or ValidationError for a bad name or pattern; then nothing was made.
    """
    key = ApiKey(name=name, owner=owner, is_admin=is_admin)
    text = give_secret(key)
    key.clean_fields()
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as error:
        raise NameTakenError(
            f"There is an API key named {name!r} already. Revoke it, or choose another name."
        ) from error
    grant(key, publish=publish, subscribe=subscribe)
    return key, text


@transaction.atomic
def ensure_api_key(
    *,
    name: str,
    publish: Patterns = (),
    subscribe: Patterns = (),
    owner: User | None = None,
    is_admin: bool = False,
) -> tuple[ApiKey, str | None]:
    """Return the key in force of that name with at least these grants.

    The text comes only when the key was made now. Owner and scope of an existing key stay.
    """
    key = ApiKey.objects.filter(name=name, revoked_at=None).first()
    if key is None:
        return create_api_key(
            name=name, publish=publish, subscribe=subscribe, owner=owner, is_admin=is_admin
        )
    grant(key, publish=publish, subscribe=subscribe)
    return key, None


def give_secret(key: ApiKey) -> str:
    """Set identifier and digest of an unsaved key, and return its text."""
    text = api_keys.generate()
    key.identifier = text.identifier
    key.digest = api_keys.digest_of(text.secret)
    return str(text)


@transaction.atomic
def revoke_api_key(key: ApiKey) -> bool:
    """End an API key for good; False when it had ended before."""
    current = ApiKey.objects.select_for_update().get(pk=key.pk)
    if current.revoked_at is not None:
        return False
    current.revoked_at = timezone.now()
    current.save(update_fields=["revoked_at"])
    return True


@transaction.atomic
def grant(
    holder: User | ApiKey, *, publish: Patterns = (), subscribe: Patterns = ()
) -> list[TopicGrant]:
    """Give grants, and return those that the holder did not have yet.

    Raises ValidationError for a pattern outside the grammar; then none was given.
    """
    given = []
    for action, pattern in _pairs(publish, subscribe):
        wanted = TopicGrant(**_held_by(holder), action=action, pattern=pattern)
        wanted.clean_fields()
        wanted.clean()
        found, is_new = TopicGrant.objects.get_or_create(
            **_held_by(holder), action=action, pattern=pattern
        )
        if is_new:
            given.append(found)
    return given


@transaction.atomic
def withdraw(holder: User | ApiKey, *, publish: Patterns = (), subscribe: Patterns = ()) -> int:
    """Take exactly these grants away, and return how many there were."""
    taken = 0
    for action, pattern in _pairs(publish, subscribe):
        found = TopicGrant.objects.filter(**_held_by(holder), action=action, pattern=pattern)
        taken += found.delete()[0]
    return taken


def _pairs(publish: Patterns, subscribe: Patterns) -> list[tuple[TopicGrant.Action, str]]:
    return [
        *((TopicGrant.Action.PUBLISH, pattern) for pattern in publish),
        *((TopicGrant.Action.SUBSCRIBE, pattern) for pattern in subscribe),
    ]


def _held_by(holder: User | ApiKey) -> dict[str, Any]:
    return {"user": holder} if isinstance(holder, User) else {"api_key": holder}
