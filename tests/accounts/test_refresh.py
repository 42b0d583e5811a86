from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks
from structlog.testing import capture_logs

from accounts.authentication import authenticate_credentials
from accounts.errors import InvalidRefreshTokenError, InvalidTokenError
from accounts.models import RefreshToken, TokenFamily, User
from accounts.refresh import (
    purge_families,
    revoke,
    revoke_families_of,
    revoke_family,
    rotate,
    start_family,
)
from accounts.services import create_user
from accounts.signals import family_revoked

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIFETIME: timedelta = settings.ACCOUNTS["REFRESH_TOKEN_LIFETIME"]


def test_a_chain_of_rotations_stays_in_one_family(user: User) -> None:
    pair = start_family(user)
    families = {authenticate_credentials(pair.access).family}
    for _ in range(3):
        pair = rotate(pair.refresh)
        families.add(authenticate_credentials(pair.access).family)
    assert families == {str(TokenFamily.objects.get().pk)}
    assert RefreshToken.objects.filter(used_at=None).count() == 1


def test_a_rotation_costs_three_statements(
    user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    refresh = start_family(user).refresh
    with django_assert_num_queries(
        5
    ):  # spend, read, insert; in a test also a savepoint, set and released
        rotate(refresh)


def test_tokens_are_stored_as_digests(user: User) -> None:
    pair = start_family(user)
    token = RefreshToken.objects.get()
    for field in RefreshToken._meta.concrete_fields:
        assert pair.refresh.removeprefix("bwr_") not in str(getattr(token, field.attname))
    assert pair.refresh not in repr(pair)
    assert pair.access not in repr(pair)


def test_a_spent_token_ends_its_family(
    user: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    first = start_family(user)
    second = rotate(first.refresh)
    heard = listen()
    with (
        capture_logs() as logs,
        django_capture_on_commit_callbacks(execute=True),
        pytest.raises(InvalidRefreshTokenError),
    ):
        rotate(first.refresh)
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(second.access)
    with pytest.raises(InvalidRefreshTokenError):
        rotate(second.refresh)
    family = TokenFamily.objects.get()
    assert heard == [(str(family.pk), user.pk)]
    assert [(log["log_level"], log["family"]) for log in logs] == [("warning", str(family.pk))]
    assert first.refresh not in str(logs)


def listen() -> list[tuple[str, int]]:
    """Collect what family_revoked says; the weak reference ends with the test."""
    heard: list[tuple[str, int]] = []

    def receiver(*, family: str, user_id: int, **_: Any) -> None:
        heard.append((family, user_id))

    family_revoked.connect(receiver, weak=False, dispatch_uid="tests.accounts.listen")
    return heard


@pytest.fixture(autouse=True)
def _stop_listening() -> Any:
    yield
    family_revoked.disconnect(dispatch_uid="tests.accounts.listen")


def test_a_spent_token_of_an_ended_family_is_refused_quietly(user: User) -> None:
    first = start_family(user)
    rotate(first.refresh)
    revoke_family(first.refresh)
    ended_at = TokenFamily.objects.get().revoked_at
    with capture_logs() as logs, pytest.raises(InvalidRefreshTokenError):
        rotate(first.refresh)
    assert logs == []
    assert TokenFamily.objects.get().revoked_at == ended_at


def test_a_token_is_good_until_it_expires(user: User) -> None:
    with time_machine.travel(NOW, tick=False):
        one, other = start_family(user), start_family(user)
    with time_machine.travel(NOW + LIFETIME - timedelta(seconds=1), tick=False):
        rotate(one.refresh)
    with (
        time_machine.travel(NOW + LIFETIME, tick=False),
        pytest.raises(InvalidRefreshTokenError),
    ):
        rotate(other.refresh)


def test_an_inactive_user_gets_no_tokens(user: User) -> None:
    pair = start_family(user)
    User.objects.update(is_active=False)
    with pytest.raises(InvalidRefreshTokenError):
        rotate(pair.refresh)
    assert RefreshToken.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "bwr_x", "\x00", "\ud800", "ä"])
def test_unknown_tokens_are_refused(text: str) -> None:
    with pytest.raises(InvalidRefreshTokenError):
        rotate(text)
    with pytest.raises(InvalidRefreshTokenError):
        revoke_family(text)


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_any_token_of_a_family_revokes_it_once(
    user: User,
    generation: int,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    pairs = [start_family(user)]
    pairs += [rotate(pairs[0].refresh)]
    pairs += [rotate(pairs[1].refresh)]
    heard = listen()
    with django_capture_on_commit_callbacks(execute=True):
        revoke_family(pairs[generation].refresh)
        revoke_family(pairs[generation].refresh)
    assert len(heard) == 1
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(pairs[2].access)


def test_a_receiver_that_fails_does_not_undo_a_revocation(
    user: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("deaf")

    pair = start_family(user)
    family_revoked.connect(fail, weak=False, dispatch_uid="tests.accounts.listen")
    with django_capture_on_commit_callbacks(execute=True):
        revoke_family(pair.refresh)
    assert TokenFamily.objects.get().revoked_at is not None


def test_all_families_of_a_user_end_together(user: User) -> None:
    other = start_family(create_user(username="eve", password=None))
    start_family(user), start_family(user)
    assert revoke_families_of(user) == 2
    assert revoke_families_of(user) == 0
    assert authenticate_credentials(other.access).name == "eve"


def test_revoking_tells_whether_it_did(user: User) -> None:
    start_family(user)
    family = TokenFamily.objects.get()
    assert revoke(family, now=NOW)
    assert not revoke(family)
    family.refresh_from_db()
    assert family.revoked_at == NOW


def test_purging_keeps_what_may_still_be_presented(user: User) -> None:
    with time_machine.travel(NOW, tick=False):
        start_family(user)
        rotate(start_family(user).refresh)
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        rotate(start_family(user).refresh)
    margin = settings.ACCOUNTS["ACCESS_TOKEN_LIFETIME"]
    assert purge_families(now=NOW + LIFETIME + margin - timedelta(seconds=1)) == 0
    assert purge_families(now=NOW + LIFETIME + margin) == 2
    assert RefreshToken.objects.count() == 2
    assert purge_families(now=NOW + LIFETIME + margin + timedelta(days=1)) == 1
    assert RefreshToken.objects.count() == 0
