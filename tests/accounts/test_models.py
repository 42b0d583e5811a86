from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import ApiKey, RefreshToken, TokenFamily, TopicGrant, User
from accounts.services import create_api_key

Holder = str
HOLDERS = {"user": True, "key": True}


@pytest.fixture
def key(db: Any) -> ApiKey:
    return create_api_key(name="shop")[0]


@pytest.mark.parametrize(("has_user", "has_key"), [(False, False), (True, True)])
def test_a_grant_has_exactly_one_holder(
    user: User, key: ApiKey, has_user: bool, has_key: bool
) -> None:
    grant = TopicGrant(
        user=user if has_user else None,
        api_key=key if has_key else None,
        action="publish",
        pattern="a",
    )
    with pytest.raises(ValidationError, match="either a user or an API key"):
        grant.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        grant.save()


def test_a_grant_has_a_known_action(user: User) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        TopicGrant.objects.create(user=user, action="delete", pattern="a")


def test_a_grant_is_unique_per_holder(user: User, key: ApiKey) -> None:
    for holder in ({"user": user}, {"api_key": key}):
        TopicGrant.objects.create(**holder, action="publish", pattern="a")
        TopicGrant.objects.create(**holder, action="subscribe", pattern="a")
        with pytest.raises(IntegrityError), transaction.atomic():
            TopicGrant.objects.create(**holder, action="publish", pattern="a")


def test_the_validator_says_what_is_wrong_with_a_pattern(user: User) -> None:
    with pytest.raises(ValidationError) as refused:
        TopicGrant(user=user, action="publish", pattern="a b").full_clean()
    assert refused.value.message_dict == {"pattern": ["A pattern has no spaces: 'a b'."]}


def test_an_empty_pattern_is_reported_once(user: User) -> None:
    with pytest.raises(ValidationError) as refused:
        TopicGrant(user=user, action="publish", pattern="").full_clean()
    assert refused.value.message_dict == {"pattern": ["This field cannot be blank."]}


def test_what_is_shown_names_and_tells_no_secret(user: User, key: ApiKey) -> None:
    family = TokenFamily.objects.create(user=user)
    assert str(family) == str(family.pk)
    assert str(RefreshToken(pk=5, digest="hush")) == "refresh token 5"
    assert str(key) == "shop"
    assert str(TopicGrant(action="publish", pattern="a.b")) == "publish a.b"
    assert (user.principal_id, key.principal_id) == (f"user:{user.pk}", f"key:{key.identifier}")
