from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.authentication import (
    authenticate_all,
    authenticate_credentials,
    principal_of_user,
    reload_principal,
)
from accounts.errors import (
    CredentialsError,
    InvalidApiKeyError,
    InvalidTokenError,
    TokenExpiredError,
)
from accounts.models import ApiKey, TokenFamily, User
from accounts.principal import Principal
from accounts.refresh import revoke_family, start_family
from accounts.services import create_user, grant, revoke_api_key, withdraw
from accounts.tokens import issue_access_token, verify_access_token

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_token_proves_its_user(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    text = start_family(user).access
    with django_assert_num_queries(1):
        principal = authenticate_credentials(text)
    claims = verify_access_token(text)
    assert principal == Principal(
        id=f"user:{user.pk}",
        user_id=user.pk,
        name="ada",
        is_admin=False,
        publish=(f"user.{user.pk}.**", "orders.*"),
        subscribe=(f"user.{user.pk}.**", "news", "orders.**"),
        expires_at=claims.expires_at,
        family=claims.family,
    )


def test_a_token_without_a_family_is_good_until_it_expires(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    text = issue_access_token(user).access
    with django_assert_num_queries(1):
        assert authenticate_credentials(text).family is None


def test_a_user_without_grants_has_its_own_topics(db: Any) -> None:
    nobody = create_user(username="nobody", password=None)
    principal = authenticate_credentials(issue_access_token(nobody).access)
    assert principal.publish == principal.subscribe == (f"user.{nobody.pk}.**",)


@pytest.mark.parametrize(
    ("flags", "is_admin", "has_everything"),
    [
        ({}, False, False),
        ({"is_staff": True}, True, False),
        ({"is_superuser": True}, True, True),
    ],
)
def test_flags_make_admins(
    user: User, flags: dict[str, bool], is_admin: bool, has_everything: bool
) -> None:
    User.objects.filter(pk=user.pk).update(**flags)
    principal = authenticate_credentials(issue_access_token(user).access)
    assert principal.is_admin is is_admin
    assert ("**" in principal.publish, "**" in principal.subscribe) == (has_everything,) * 2


def test_an_expired_token_says_so(user: User) -> None:
    text = issue_access_token(user, now=NOW).access
    with time_machine.travel(NOW + timedelta(hours=1)), pytest.raises(TokenExpiredError):
        authenticate_credentials(text)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def revoke_families(user: User) -> None:
    user.token_families.update(revoked_at=timezone.now())


def give_family_away(user: User) -> None:
    user.token_families.update(user=create_user(username="eve", password=None))


@pytest.mark.parametrize(
    "end",
    [
        deactivate,
        revoke_families,
        give_family_away,
        lambda user: user.delete(),
        lambda user: user.token_families.all().delete(),
    ],
)
def test_a_good_token_is_refused_once_its_user_or_family_is(
    user: User, end: Callable[[User], Any]
) -> None:
    text = start_family(user).access
    principal = authenticate_credentials(text)
    end(user)
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(text)
    with pytest.raises(InvalidTokenError):
        reload_principal(principal)


def test_revoking_one_family_leaves_the_others(user: User) -> None:
    ended, other = start_family(user), start_family(user)
    revoke_family(ended.refresh)
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(ended.access)
    assert authenticate_credentials(other.access).user_id == user.pk


@pytest.mark.parametrize("text", ["", "x", "bw", "bwr_x", "a.b.c", "\x00", "\ud800"])
def test_other_texts_prove_nothing(db: Any, text: str) -> None:
    with pytest.raises(CredentialsError) as refused:
        authenticate_credentials(text)
    assert refused.value.code == "UNAUTHENTICATED"


def test_a_reloaded_user_has_its_current_grants_and_its_old_times(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    principal = authenticate_credentials(start_family(user).access)
    grant(user, publish=["a.b"])
    withdraw(user, subscribe=["news"])
    with django_assert_num_queries(1):
        current = reload_principal(principal)
    assert current.publish == (f"user.{user.pk}.**", "a.b", "orders.*")
    assert current.subscribe == (f"user.{user.pk}.**", "orders.**")
    assert (current.expires_at, current.family) == (principal.expires_at, principal.family)


def test_a_reloaded_key_has_its_current_grants(key: tuple[ApiKey, str]) -> None:
    principal = authenticate_credentials(key[1])
    grant(key[0], publish=["a.b"])
    assert reload_principal(principal).publish == ("a.b", "orders.*")
    revoke_api_key(key[0])
    with pytest.raises(InvalidApiKeyError):
        reload_principal(principal)


def test_a_loaded_user_has_the_principal_of_its_token(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        loaded = principal_of_user(user)
    proven = authenticate_credentials(issue_access_token(user).access)
    assert (loaded.id, loaded.publish, loaded.subscribe) == (
        proven.id,
        proven.publish,
        proven.subscribe,
    )
    assert (loaded.expires_at, loaded.family) == (None, None)
    assert TokenFamily.objects.count() == 0


def test_many_are_proven_in_two_queries_each_by_itself(
    user: User, key: tuple[ApiKey, str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    other = create_user(username="other", password=None)
    ended, one, two = start_family(user), start_family(user), start_family(user)
    revoke_family(ended.refresh)
    foreign = issue_access_token(other, family=verify_access_token(one.access).family).access
    texts = [
        "nonsense",
        ended.access,
        one.access,
        key[1],
        two.access,
        foreign,
        issue_access_token(other).access,
        f"bw_{'0' * 12}_{'a' * 32}",
        "bw_nonsense",
    ]
    authenticate_credentials(key[1])  # its use is noted
    with django_assert_num_queries(2):
        proven = authenticate_all([*texts, *texts])
    names = [getattr(proven[text], "name", "") for text in texts]
    assert names == ["", "", "ada", "shop", "ada", "", "other", "", ""]
    errors = [type(proven[text]) for text, name in zip(texts, names, strict=True) if not name]
    assert errors == [InvalidTokenError] * 3 + [InvalidApiKeyError] * 2
    for text, name in zip(texts, names, strict=True):
        if name:
            assert proven[text] == authenticate_credentials(text)
