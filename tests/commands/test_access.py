"""Users, API keys, grants and tokens from the command line."""

import pytest
from django.core.management.base import CommandError

from accounts.authentication import authenticate_credentials
from accounts.models import ApiKey, TopicGrant, User
from accounts.services import log_in
from tests.commands.calling import call

pytestmark = pytest.mark.django_db


def grants() -> set[tuple[str, str]]:
    return set(TopicGrant.objects.values_list("action", "pattern"))


def make_user(name: str = "ada", *more: str) -> str:
    return call("create_user", name, "--password", "s3cret-enough", *more)


def test_create_user_makes_one_that_can_log_in() -> None:
    out = make_user(
        "ada", "--grant-publish", "a.*", "--grant-publish=b.*", "--grant-subscribe", "c.**"
    )
    user = User.objects.get(username="ada")
    assert f"id {user.pk};" in out
    assert log_in(username="ada", password="s3cret-enough").access
    assert grants() == {("publish", "a.*"), ("publish", "b.*"), ("subscribe", "c.**")}


def test_create_user_without_password_and_terminal() -> None:
    with pytest.raises(CommandError, match="--password"):
        call("create_user", "ada")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create_user", "ada", "--password", "x"), "already"),
        (("create_user", "b b", "--password", "x"), "valid username"),
        (("create_user", "bob", "--password", "x", "--grant-publish", "a..b"), "empty"),
        (("create_api_key", "k", "--grant-subscribe", "a.**.b"), "may only be the last"),
        (("create_api_key", "taken"), "already"),
        (("grant", "ada", "--publish", "a b"), "use only"),
        (("grant", "nobody", "--publish", "a"), "no user or API key named 'nobody'"),
        (("grant", "ada", "--kind", "key", "--publish", "a"), "no API key in force named"),
        (("grant", "ada", "--revoke"), "--subscribe or --publish"),
        (("grant", "ada", "--revoke", "--publish", "a"), "none of these"),
        (("issue_token", "nobody"), "create_user nobody"),
    ],
)
def test_refusals_say_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    make_user()
    call("create_api_key", "taken")
    users, keys = User.objects.count(), ApiKey.objects.count()
    with pytest.raises(CommandError, match=complaint):
        call(*arguments)
    assert (User.objects.count(), ApiKey.objects.count(), grants()) == (users, keys, set())


@pytest.mark.parametrize(("options", "is_admin"), [((), False), (("--admin",), True)])
def test_create_api_key_prints_the_key_alone(options: tuple[str, ...], is_admin: bool) -> None:
    out = call("create_api_key", "shop", "--grant-publish", "shop.**", *options)
    assert len(out.splitlines()) == 1
    principal = authenticate_credentials(out.strip())
    assert principal.publish == ("shop.**",)
    assert principal.is_admin is is_admin


def test_grants_are_given_listed_and_taken() -> None:
    make_user()
    assert call("grant", "ada", "--publish", "a.*", "--subscribe=b", "--subscribe=c") == (
        "3 new for ada\n"
    )
    assert call("grant", "ada", "--publish", "a.*") == "0 new for ada\n"
    assert call("grant", "ada") == "publish a.*\nsubscribe b\nsubscribe c\n"
    assert call("grant", "ada", "--revoke", "--subscribe", "b", "--publish=a.*") == (
        "2 taken from ada\n"
    )
    assert grants() == {("subscribe", "c")}


def test_grant_asks_which_of_two_namesakes() -> None:
    make_user("twin")
    call("create_api_key", "twin")
    with pytest.raises(CommandError, match="--kind"):
        call("grant", "twin", "--publish", "a")
    call("grant", "twin", "--publish", "a", "--kind", "key")
    call("grant", "twin", "--publish", "b", "--kind", "user")
    held = set(TopicGrant.objects.values_list("pattern", "user__username", "api_key__name"))
    assert held == {("a", None, "twin"), ("b", "twin", None)}


def test_issue_token_prints_a_token_alone() -> None:
    make_user()
    out = call("issue_token", "ada")
    assert len(out.splitlines()) == 1
    assert authenticate_credentials(out.strip()).name == "ada"


def test_issue_token_refuses_an_inactive_user() -> None:
    make_user()
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="not active"):
        call("issue_token", "ada")
