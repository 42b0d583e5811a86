from typing import Any

import pytest
from django.test import Client

from accounts.authentication import authenticate_credentials
from accounts.errors import InvalidTokenError
from accounts.models import User
from tests.accounts.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def post(path: str, body: Any, **headers: str) -> Any:
    return Client(headers=headers).post(
        f"/api/v1/auth/{path}", body, content_type="application/json"
    )


def log_in() -> dict[str, Any]:
    answer = post("token", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    return dict(answer.json())


def test_a_log_in_answers_three_values_that_no_cache_keeps(user: User) -> None:
    answer = post("token", {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh", "expiresIn"}
    assert answer.json()["expiresIn"] == 900_000
    assert answer["Cache-Control"] == "no-store"
    assert authenticate_credentials(answer.json()["access"]).user_id == user.pk


def test_a_password_is_taken_as_it_is_typed(user: User) -> None:
    answer = post("token", {"username": "ada", "password": f" {PASSWORD} "})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("username", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD)]
)
def test_refused_log_ins_answer_alike(user: User, username: str, password: str) -> None:
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    answer = post("token", {"username": username, "password": password})
    reference = post("token", {"username": "ada", "password": "also wrong"})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "UNAUTHENTICATED"
    assert answer.json() == reference.json()


def test_refreshing_answers_the_same_three(user: User) -> None:
    first = log_in()
    answer = post("refresh", {"refresh": first["refresh"]})
    assert answer.status_code == 200
    assert set(answer.json()) == set(first)
    assert answer.json()["refresh"] != first["refresh"]
    assert answer["Cache-Control"] == "no-store"
    assert authenticate_credentials(answer.json()["access"]).user_id == user.pk


def test_a_spent_refresh_token_ends_the_family(user: User) -> None:
    first = log_in()
    second = post("refresh", {"refresh": first["refresh"]}).json()
    answer = post("refresh", {"refresh": first["refresh"]})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "UNAUTHENTICATED"
    assert post("refresh", {"refresh": second["refresh"]}).status_code == 401
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(second["access"])


def test_revoking_ends_the_access_tokens(user: User) -> None:
    pair = log_in()
    answer = post("revoke", {"refresh": pair["refresh"]})
    assert (answer.status_code, answer.content) == (204, b"")
    with pytest.raises(InvalidTokenError):
        authenticate_credentials(pair["access"])
    assert post("revoke", {"refresh": pair["refresh"]}).status_code == 204


def test_revoking_needs_the_proof() -> None:
    answer = post("revoke", {"refresh": "bwr_unknown"})
    assert answer.status_code == 401
    assert answer.json()["code"] == "UNAUTHENTICATED"


def test_a_stale_authorization_header_does_not_matter(user: User) -> None:
    pair = log_in()
    answer = post("refresh", {"refresh": pair["refresh"]}, authorization="Bearer stale")
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["token", "refresh", "revoke"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "text",
        None,
        {"username": "ada", "refresh": None},
        {"username": {}, "password": [], "refresh": {}},
        {"username": "a\0", "password": "x", "refresh": "\0"},
        {"username": "x" * 151, "password": "x", "refresh": "x" * 256},
        {"username": "x", "password": "x" * 1025, "refresh": ""},
    ],
)
def test_bad_bodies_are_400(path: str, body: Any) -> None:
    assert post(path, body).status_code == 400


@pytest.mark.parametrize("path", ["token", "refresh", "revoke"])
def test_only_posts_are_answered(path: str) -> None:
    assert Client().get(f"/api/v1/auth/{path}").status_code == 405


def test_the_schema_tells_how_to_log_in(client: Client) -> None:
    schema = client.get("/api/schema/", headers={"accept": "application/vnd.oai.openapi+json"})
    described = schema.json()
    for path, status in (("token", "200"), ("refresh", "200"), ("revoke", "204")):
        call = described["paths"][f"/api/v1/auth/{path}"]["post"]
        assert {status, "400", "401"} <= set(call["responses"])
        assert call.get("security", [{}]) in ([], [{}])
    pair = described["components"]["schemas"]["TokenPair"]
    assert set(pair["required"]) == {"access", "refresh", "expiresIn"}
