from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import update_last_login
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import ApiKey, User
from accounts.refresh import start_family
from accounts.services import create_api_key, create_user, grant, revoke_api_key, withdraw
from accounts.signals import access_changed


@pytest.fixture
def heard() -> Iterator[list[str]]:
    ids: list[str] = []

    def receiver(*, principal_id: str, **_: Any) -> None:
        ids.append(principal_id)

    access_changed.connect(receiver)
    yield ids
    access_changed.disconnect(receiver)


@pytest.fixture
def key(db: Any) -> ApiKey:
    return create_api_key(name="shop", publish=["a"])[0]


def change_password(user: User) -> None:
    user.set_password("another")
    user.save()


CHANGES_OF_A_USER: dict[str, Callable[[User], Any]] = {
    "grant given": lambda user: grant(user, publish=["new"]),
    "grant taken": lambda user: withdraw(user, subscribe=["news"]),
    "saved": lambda user: user.save(),
    "flag saved": lambda user: user.save(update_fields=["is_staff"]),
    "password changed": change_password,
}


@pytest.mark.parametrize("change", CHANGES_OF_A_USER.values(), ids=CHANGES_OF_A_USER.keys())
def test_a_changed_user_is_announced(
    user: User,
    heard: list[str],
    change: Callable[[User], Any],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        change(user)
    assert heard == [f"user:{user.pk}"]


def test_a_deleted_user_is_announced(
    user: User,
    heard: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    principal_id = user.principal_id
    with django_capture_on_commit_callbacks(execute=True):
        user.delete()
    assert set(heard) == {principal_id}


CHANGES_OF_A_KEY: dict[str, Callable[[ApiKey], Any]] = {
    "grant given": lambda key: grant(key, publish=["new"]),
    "grant taken": lambda key: withdraw(key, publish=["a"]),
    "revoked": revoke_api_key,
    "saved": lambda key: key.save(),
    "deleted": lambda key: key.delete(),
}


@pytest.mark.parametrize("change", CHANGES_OF_A_KEY.values(), ids=CHANGES_OF_A_KEY.keys())
def test_a_changed_key_is_announced(
    key: ApiKey,
    heard: list[str],
    change: Callable[[ApiKey], Any],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    principal_id = key.principal_id
    with django_capture_on_commit_callbacks(execute=True):
        change(key)
    assert set(heard) == {principal_id}


def test_a_log_in_and_a_repeated_grant_change_nothing(
    user: User,
    heard: list[str],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        update_last_login(None, user)  # type: ignore[arg-type]
        grant(user, subscribe=["news"])
        create_user(username="eve", password=None)
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_nothing_is_announced_before_the_commit_nor_after_a_rollback(heard: list[str]) -> None:
    ada = create_user(username="ada", password=None)
    with transaction.atomic():
        grant(ada, publish=["a"])
        transaction.set_rollback(True)
    assert heard == []
    with transaction.atomic():
        grant(ada, publish=["a"])
        assert heard == []
    assert heard == [ada.principal_id]


def test_a_new_password_ends_all_log_ins(user: User) -> None:
    start_family(user)
    user.save()
    assert user.token_families.get().revoked_at is None
    change_password(user)
    assert user.token_families.get().revoked_at is not None
