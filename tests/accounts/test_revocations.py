"""What was revoked lately."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey, TokenFamily
from accounts.refresh import revoke_family, start_family
from accounts.revocations import Revoked, revoked_between
from accounts.services import create_api_key, create_user, revoke_api_key

pytestmark = pytest.mark.django_db


def test_what_ended_within_the_window_is_found_and_nothing_else() -> None:
    user = create_user(username="ada", password=None)
    kept, ended = start_family(user), start_family(user)
    for name in ("kept", "revoked", "expired"):
        create_api_key(name=name)
    before = timezone.now()
    revoke_family(ended.refresh)
    revoke_api_key(ApiKey.objects.get(name="revoked"))
    ApiKey.objects.filter(name="expired").update(expires_at=timezone.now())
    after = timezone.now()
    family = TokenFamily.objects.exclude(revoked_at=None).get()
    assert TokenFamily.objects.count() == 2
    assert kept.refresh != ended.refresh
    assert revoked_between(before, after) == Revoked(
        families=frozenset([str(family.pk)]),
        principals=frozenset(
            key.principal_id for key in ApiKey.objects.filter(name__in=["revoked", "expired"])
        ),
    )
    nothing = Revoked(families=frozenset(), principals=frozenset())
    assert revoked_between(before - timedelta(minutes=1), before) == nothing
    assert revoked_between(after, after + timedelta(minutes=1)) == nothing
