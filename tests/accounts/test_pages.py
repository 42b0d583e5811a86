import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.accounts.conftest import PASSWORD


def test_a_browser_logs_in_and_out(user: User, client: Client) -> None:
    answer = client.post(
        f"{reverse('login')}?next=/somewhere/", {"username": "ada", "password": PASSWORD}
    )
    assert answer.status_code == 302
    assert answer["Location"] == "/somewhere/"
    assert client.session["_auth_user_id"] == str(user.pk)
    answer = client.post(reverse("logout"))
    assert answer["Location"] == reverse("login")
    assert "_auth_user_id" not in client.session


def test_nobody_is_sent_to_another_site(user: User, client: Client) -> None:
    answer = client.post(
        f"{reverse('login')}?next=https://evil.example/",
        {"username": "ada", "password": PASSWORD},
    )
    assert answer.status_code == 302
    assert "evil" not in answer["Location"]


@pytest.mark.parametrize("method", ["get", "put"])
def test_a_link_cannot_log_anyone_out(user: User, client: Client, method: str) -> None:
    client.force_login(user)
    assert getattr(client, method)(reverse("logout")).status_code == 405
