from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError
from django.db.models import QuerySet
from pytest_django import DjangoAssertNumQueries, Settings
from structlog.testing import capture_logs

from accounts.api_keys import digest_of
from accounts.authentication import (
    authenticate_credentials,
    reload_principal,
)
from accounts.errors import (
    InvalidApiKeyError,
)
from accounts.models import ApiKey, User
from accounts.principal import Principal
from accounts.selectors import find_key
from accounts.services import create_api_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_key_proves_itself(
    key: tuple[ApiKey, str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    record, text = key
    with django_assert_num_queries(2):  # the second notes the use
        principal = authenticate_credentials(text)
    assert principal == Principal(
        id=f"key:{record.identifier}",
        user_id=None,
        name="shop",
        is_admin=False,
        publish=("orders.*",),
        subscribe=("orders.**",),
    )
    with django_assert_num_queries(1):
        authenticate_credentials(text)


def test_a_key_acts_for_itself_and_not_for_its_owner(user: User) -> None:
    _, text = create_api_key(name="hers", owner=user)
    principal = authenticate_credentials(text)
    assert principal.user_id is None
    assert principal.publish == principal.subscribe == ()


def test_a_key_may_have_the_admin_scope(db: Any) -> None:
    _, text = create_api_key(name="root", is_admin=True)
    principal = authenticate_credentials(text)
    assert principal.is_admin
    assert principal.subscribe == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"revoked_at": NOW},
        {"expires_at": NOW},
        {"digest": digest_of("another")},
        {"identifier": "0123456789ab"},
    ],
)
def test_keys_out_of_force_are_refused_alike(
    key: tuple[ApiKey, str], changes: dict[str, Any]
) -> None:
    ApiKey.objects.update(**changes)
    with time_machine.travel(NOW, tick=False), pytest.raises(InvalidApiKeyError) as refused:
        authenticate_credentials(key[1])
    assert str(refused.value) == InvalidApiKeyError.advice
    assert ApiKey.objects.get().last_used_at is None


def test_an_expiry_in_the_future_is_no_refusal(key: tuple[ApiKey, str]) -> None:
    ApiKey.objects.update(expires_at=NOW + timedelta(seconds=1))
    with time_machine.travel(NOW, tick=False):
        assert authenticate_credentials(key[1]).expires_at is None


def test_a_key_ends_with_its_owner(user: User) -> None:
    _, text = create_api_key(name="hers", owner=user)
    principal = authenticate_credentials(text)
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(InvalidApiKeyError):
        authenticate_credentials(text)
    with pytest.raises(InvalidApiKeyError):
        reload_principal(principal)


def test_a_use_is_noted_once_a_minute(key: tuple[ApiKey, str]) -> None:
    noted = []
    for second in (0, 59, 60, 61, 120):
        at = NOW + timedelta(seconds=second)
        with time_machine.travel(at, tick=False):
            authenticate_credentials(key[1])
        last_used_at = ApiKey.objects.get().last_used_at
        assert last_used_at is not None
        noted.append((last_used_at - NOW).total_seconds())
    assert noted == [0, 0, 60, 60, 120]


def test_of_many_servers_one_notes_a_use(
    key: tuple[ApiKey, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = find_key(key[0].identifier, now=NOW, noted_within=timedelta(minutes=1))
    with time_machine.travel(NOW, tick=False):
        authenticate_credentials(key[1])
    monkeypatch.setattr("accounts.authentication.find_key", lambda *_, **__: stale)
    with time_machine.travel(NOW + timedelta(seconds=1), tick=False):
        authenticate_credentials(key[1])
    assert ApiKey.objects.get().last_used_at == NOW


def test_a_use_that_cannot_be_noted_is_no_refusal(
    key: tuple[ApiKey, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("read-only")

    monkeypatch.setattr(QuerySet, "update", fail)
    with capture_logs() as logs:
        assert authenticate_credentials(key[1]).name == "shop"
    assert [log["event"] for log in logs] == ["use of API key not noted"]


def test_a_use_moves_the_digest_to_the_current_pepper(
    key: tuple[ApiKey, str], settings: Settings
) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key"
    authenticate_credentials(key[1])
    settings.SECRET_KEY_FALLBACKS = []
    assert authenticate_credentials(key[1]).name == "shop"
