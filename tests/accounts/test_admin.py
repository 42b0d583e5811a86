import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.authentication import authenticate_credentials
from accounts.errors import InvalidApiKeyError, InvalidTokenError
from accounts.models import ApiKey, RefreshToken, TokenFamily, TopicGrant, User
from accounts.refresh import rotate, start_family
from accounts.services import create_api_key, create_user, grant

PAGES = ["user", "apikey", "tokenfamily", "topicgrant"]
NO_INLINES = {"topic_grants-TOTAL_FORMS": "0", "topic_grants-INITIAL_FORMS": "0"}


def url(page: str, *args: Any) -> str:
    return reverse(f"admin:accounts_{page}", args=args)


def fill(count: int) -> None:
    """Add rows to every list."""
    for _ in range(count):
        number = User.objects.count()
        owner = create_user(username=f"user{number}", password=None, publish=["a"])
        key, _text = create_api_key(name=f"key{number}", owner=owner)
        grant(key, subscribe=["b"])
        start_family(owner)


@pytest.mark.parametrize("page", PAGES)
def test_a_list_costs_the_same_for_many_rows(admin_client: Client, page: str) -> None:
    counts = []
    for _ in range(2):
        fill(4)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert admin_client.get(url(f"{page}_changelist")).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("query", "found"), [("user0", 1), ("nobody", 0)])
def test_lists_can_be_searched_by_user(
    admin_client: Client, page: str, query: str, found: int
) -> None:
    User.objects.all().delete()
    User.objects.create_superuser("operator")
    admin_client.force_login(User.objects.get())
    create_user(username="user0", password=None, publish=["a"])
    owner = User.objects.get(username="user0")
    create_api_key(name="shop", owner=owner)
    start_family(owner)
    answer = admin_client.get(f"{url(f'{page}_changelist')}?q={query}")
    assert answer.context["cl"].result_count == found


def test_a_new_key_is_shown_once(admin_client: Client) -> None:
    body = {"name": "shop", **NO_INLINES}
    answer = admin_client.post(url("apikey_add"), body, follow=True)
    (text,) = re.findall(r"bw_[0-9a-f]{12}_[0-9A-Za-z]{32}", answer.content.decode())
    assert authenticate_credentials(text).name == "shop"
    key = ApiKey.objects.get()
    again = admin_client.get(url("apikey_change", key.pk)).content.decode()
    assert key.digest in again
    assert text not in again
    assert text not in str(LogEntry.objects.values_list("object_repr", "change_message"))


def test_editing_a_key_keeps_its_secret(admin_client: Client) -> None:
    key, text = create_api_key(name="shop")
    admin_client.post(url("apikey_change", key.pk), {"name": "store", "digest": "x", **NO_INLINES})
    assert authenticate_credentials(text).name == "store"


def test_a_taken_key_name_is_an_error_of_the_form(admin_client: Client) -> None:
    create_api_key(name="shop")
    answer = admin_client.post(url("apikey_add"), {"name": "shop", **NO_INLINES})
    assert answer.status_code == 200
    assert "has this name already" in answer.content.decode()


@pytest.mark.parametrize(
    ("patterns", "error"),
    [
        (["a b"], "A pattern has no spaces"),
        (["a", "a"], "duplicate"),
        (["orders.*"], "duplicate"),
    ],
)
def test_grants_are_validated_on_their_holders_page(
    admin_client: Client, patterns: list[str], error: str
) -> None:
    key, _ = create_api_key(name="shop", publish=["orders.*"])
    held = key.topic_grants.get()
    body = {
        "name": "shop",
        "topic_grants-TOTAL_FORMS": str(1 + len(patterns)),
        "topic_grants-INITIAL_FORMS": "1",
        "topic_grants-0-id": str(held.pk),
        "topic_grants-0-api_key": str(key.pk),
        "topic_grants-0-action": "publish",
        "topic_grants-0-pattern": "orders.*",
    }
    for number, pattern in enumerate(patterns, start=1):
        body |= {
            f"topic_grants-{number}-action": "publish",
            f"topic_grants-{number}-pattern": pattern,
            f"topic_grants-{number}-api_key": str(key.pk),
        }
    answer = admin_client.post(url("apikey_change", key.pk), body)
    assert answer.status_code == 200
    assert error in answer.content.decode()
    assert TopicGrant.objects.count() == 1


def test_a_user_gets_grants_on_its_page(admin_client: Client) -> None:
    body = {
        "username": "ada",
        "usable_password": "true",
        "password1": "a longer passphrase",
        "password2": "a longer passphrase",
        **NO_INLINES,
        "topic_grants-TOTAL_FORMS": "1",
        "topic_grants-0-action": "publish",
        "topic_grants-0-pattern": "a.*",
    }
    assert admin_client.post(url("user_add"), body).status_code == 302
    assert str(User.objects.get(username="ada").topic_grants.get()) == "publish a.*"


def test_revoking_keys_is_logged(admin_client: Client) -> None:
    (key, text), (ended, _) = create_api_key(name="shop"), create_api_key(name="old")
    run(admin_client, "apikey", "revoke_keys", ended.pk)
    run(admin_client, "apikey", "revoke_keys", key.pk, ended.pk)
    with pytest.raises(InvalidApiKeyError):
        authenticate_credentials(text)
    assert LogEntry.objects.filter(change_message="Revoked.").count() == 2


def test_revoking_families_is_logged(admin_client: Client, user: User) -> None:
    pair = start_family(user)
    run(admin_client, "tokenfamily", "revoke_families", TokenFamily.objects.get().pk)
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(pair.access)
    assert LogEntry.objects.filter(change_message="Revoked.").count() == 1


def run(client: Client, page: str, action: str, *pks: Any) -> None:
    body = {"action": action, "_selected_action": [str(pk) for pk in pks]}
    assert client.post(url(f"{page}_changelist"), body).status_code == 302


def test_families_are_read_only_and_show_no_digest(admin_client: Client, user: User) -> None:
    rotate(start_family(user).refresh)
    family = TokenFamily.objects.get()
    page = admin_client.get(url("tokenfamily_change", family.pk))
    assert page.status_code == 200
    for digest in RefreshToken.objects.values_list("digest", flat=True):
        assert digest not in page.content.decode()
    assert admin_client.get(url("tokenfamily_add")).status_code == 403
    assert admin_client.post(url("tokenfamily_change", family.pk), {}).status_code == 403


@pytest.mark.parametrize(("permissions", "is_revoked"), [([], False), (["change"], True)])
def test_revoking_a_family_needs_a_permission(
    user: User, client: Client, permissions: list[str], is_revoked: bool
) -> None:
    start_family(user)
    staff = User.objects.create_user("staff", is_staff=True)
    for verb in ["view", *permissions]:
        staff.user_permissions.add(Permission.objects.get(codename=f"{verb}_tokenfamily"))
    client.force_login(staff)
    body = {"action": "revoke_families", "_selected_action": [str(TokenFamily.objects.get().pk)]}
    client.post(url("tokenfamily_changelist"), body)
    assert (TokenFamily.objects.get().revoked_at is not None) is is_revoked
