from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.exceptions import ValidationError

from accounts.authentication import authenticate_credentials
from accounts.errors import InvalidApiKeyError, LoginRefusedError, NameTakenError
from accounts.models import ApiKey, TopicGrant, User
from accounts.services import (
    create_api_key,
    create_user,
    ensure_api_key,
    ensure_user,
    grant,
    log_in,
    revoke_api_key,
    withdraw,
)
from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def grants_of(holder: User | ApiKey) -> set[tuple[str, str]]:
    return set(holder.topic_grants.values_list("action", "pattern"))


def test_a_user_is_made_with_its_grants(user: User) -> None:
    assert user.check_password(PASSWORD)
    assert grants_of(user) == {
        ("publish", "orders.*"),
        ("subscribe", "orders.**"),
        ("subscribe", "news"),
    }


def test_a_user_without_a_password_cannot_log_in() -> None:
    assert not create_user(username="bot", password=None).has_usable_password()


def test_a_name_is_taken_once(user: User) -> None:
    with pytest.raises(NameTakenError, match="'ada'"):
        create_user(username="ada", password=None)
    create_api_key(name="shop")
    with pytest.raises(NameTakenError, match="'shop'"):
        create_api_key(name="shop")


def test_a_revoked_key_frees_its_name() -> None:
    old, old_text = create_api_key(name="shop")
    assert revoke_api_key(old)
    assert not revoke_api_key(old)
    new, new_text = create_api_key(name="shop")
    assert new.pk != old.pk
    with pytest.raises(InvalidApiKeyError):
        authenticate_credentials(old_text)
    assert authenticate_credentials(new_text).name == "shop"


@pytest.mark.parametrize("make", [create_user, ensure_user])
@pytest.mark.parametrize("username", ["", "a b", "a/b", "x" * 151])
def test_a_bad_user_name_is_refused(make: Any, username: str) -> None:
    with pytest.raises(ValidationError):
        make(username=username, password=PASSWORD)


@pytest.mark.parametrize("name", ["", "x" * 151])
def test_a_bad_key_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        create_api_key(name=name)


@pytest.mark.parametrize("pattern", ["", "a b", "x" * 256])
def test_a_bad_pattern_undoes_everything(pattern: str) -> None:
    publish: dict[str, Any] = {"publish": ["fine", pattern]}
    subscribe: dict[str, Any] = {"subscribe": ["fine", pattern]}
    for patterns in (publish, subscribe):
        with pytest.raises(ValidationError):
            create_user(username="ada", password=None, **patterns)
        with pytest.raises(ValidationError):
            create_api_key(name="shop", **patterns)
    assert not User.objects.exists()
    assert not ApiKey.objects.exists()
    assert not TopicGrant.objects.exists()


def test_ensuring_twice_adds_what_is_missing_and_keeps_the_rest() -> None:
    first, made = ensure_user(username="ada", password=PASSWORD, publish=["a"])
    assert made
    second, made = ensure_user(username="ada", password="another", subscribe=["b"])
    assert (second, made) == (first, False)
    assert second.check_password(PASSWORD)
    assert grants_of(second) == {("publish", "a"), ("subscribe", "b")}


def test_ensuring_a_key_twice_shows_it_once() -> None:
    first, text = ensure_api_key(name="shop", publish=["a"])
    assert text is not None
    second, again = ensure_api_key(name="shop", subscribe=["b"])
    assert (second, again) == (first, None)
    assert grants_of(second) == {("publish", "a"), ("subscribe", "b")}
    revoke_api_key(first)
    assert ensure_api_key(name="shop")[1] is not None


@pytest.mark.parametrize("kind", ["user", "key"])
def test_grants_are_given_once_and_taken_exactly(kind: str) -> None:
    holder: User | ApiKey = (
        create_user(username="ada", password=None)
        if kind == "user"
        else create_api_key(name="shop")[0]
    )
    given = grant(holder, publish=["a", "a"], subscribe=["a", "b.*"])
    assert [str(each) for each in given] == ["publish a", "subscribe a", "subscribe b.*"]
    assert grant(holder, publish=["a"], subscribe=["c"])[0].pattern == "c"
    assert withdraw(holder, publish=["a", "b.*"], subscribe=["b.*"]) == 2
    assert grants_of(holder) == {("subscribe", "a"), ("subscribe", "c")}


def test_a_log_in_gives_tokens_and_is_noted(user: User) -> None:
    pair = log_in(username="ada", password=PASSWORD)
    assert authenticate_credentials(pair.access).user_id == user.pk
    user.refresh_from_db()
    assert user.last_login is not None


def test_a_name_may_be_typed_in_another_unicode_form() -> None:
    create_user(username="zoë", password=PASSWORD)
    assert log_in(username="zoe\u0308", password=PASSWORD).access


REFUSED = [("nobody", PASSWORD), ("ada", "wrong"), ("gone", PASSWORD), ("bot", PASSWORD)]


@pytest.mark.parametrize(("username", "password"), REFUSED)
def test_refused_log_ins_are_alike_and_cost_the_same(
    user: User, monkeypatch: pytest.MonkeyPatch, username: str, password: str
) -> None:
    gone = create_user(username="gone", password=PASSWORD)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    create_user(username="bot", password=None)
    hashed = []
    encode = MD5PasswordHasher.encode

    def count(self: MD5PasswordHasher, *args: str) -> str:
        hashed.append(self)
        return encode(self, *args)

    monkeypatch.setattr(MD5PasswordHasher, "encode", count)
    with pytest.raises(LoginRefusedError) as refused:
        log_in(username=username, password=password)
    assert str(refused.value) == LoginRefusedError.advice
    assert len(hashed) == 1
