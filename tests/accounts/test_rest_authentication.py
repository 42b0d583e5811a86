from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView, exception_handler

from accounts.authentication import (
    ApiKeyAuthentication,
    BearerAuthentication,
    BrowserSessionAuthentication,
)
from accounts.models import User
from accounts.services import create_api_key
from accounts.tokens import issue_access_token

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


class WhoAmI(APIView):
    """Answer with the principal's id, and with the code of a refusal."""

    authentication_classes: tuple[type[BaseAuthentication], ...] = (
        BearerAuthentication,
        ApiKeyAuthentication,
        BrowserSessionAuthentication,
    )

    def get(self, request: Request) -> Response:
        assert request.user is request.auth
        return Response({"id": request.auth.id, "pk": request.user.pk})

    post = get

    def get_exception_handler(self) -> Any:
        return exception_handler  # REST framework's own; what errors look like is tested elsewhere

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(exc, AuthenticationFailed):
            response.data = {"code": exc.get_codes()}
        return response


class SessionOnly(WhoAmI):
    authentication_classes = (BrowserSessionAuthentication,)


def ask(authorization: str | None = None) -> Response:
    headers = {} if authorization is None else {"authorization": authorization}
    request = APIRequestFactory().get("/", headers=headers)
    request.user = AnonymousUser()
    return WhoAmI.as_view()(request)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_taken(user: User, scheme: str) -> None:
    answer = ask(f"{scheme} {issue_access_token(user).access}")
    assert answer.status_code == 200
    assert answer.data == {"id": f"user:{user.pk}", "pk": f"user:{user.pk}"}


@pytest.mark.django_db
def test_an_api_key_is_taken() -> None:
    key, text = create_api_key(name="shop")
    answer = ask(f"Api-Key {text}")
    assert answer.status_code == 200
    assert answer.data["id"] == f"key:{key.identifier}"


REFUSED: dict[str, tuple[Callable[[User], str], str]] = {
    "expired": (
        lambda user: f"Bearer {issue_access_token(user, now=LONG_AGO).access}",
        "TOKEN_EXPIRED",
    ),
    "no token": (lambda user: "Bearer", "UNAUTHENTICATED"),
    "nonsense": (lambda user: "Bearer a b", "UNAUTHENTICATED"),
    "no ASCII": (lambda user: "Bearer ä", "UNAUTHENTICATED"),
    "a key as a token": (
        lambda user: f"Bearer {create_api_key(name='shop')[1]}",
        "UNAUTHENTICATED",
    ),
    "a token as a key": (
        lambda user: f"Api-Key {issue_access_token(user).access}",
        "UNAUTHENTICATED",
    ),
    "a wrong key": (lambda user: f"Api-Key bw_0123456789ab_{'a' * 32}", "UNAUTHENTICATED"),
}


@pytest.mark.parametrize(("header", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_are_401_with_a_code(user: User, header: Callable[[User], str], code: str) -> None:
    answer = ask(header(user))
    assert answer.status_code == 401
    assert answer.data == {"code": code}
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.django_db
@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "BearerX y"])
def test_without_credentials_of_ours_it_is_401_too(authorization: str | None) -> None:
    answer = ask(authorization)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "status"), [("get", 200), ("post", 403)])
def test_a_browser_session_is_taken_with_csrf(user: User, method: str, status: int) -> None:
    request = getattr(APIRequestFactory(enforce_csrf_checks=True), method)("/")
    request.user = user
    answer = WhoAmI.as_view()(request)
    # REST framework checks CSRF of unsafe methods only, as browsers send others across sites.
    assert answer.status_code == status


def test_a_browser_session_with_a_csrf_token_may_write(user: User) -> None:
    token = "a" * 32
    request = APIRequestFactory(enforce_csrf_checks=True).post("/", headers={"x-csrftoken": token})
    request.COOKIES["csrftoken"] = token
    request.user = user
    assert WhoAmI.as_view()(request).data["id"] == f"user:{user.pk}"


def test_nobody_logged_in_is_401_where_sessions_are_the_only_way() -> None:
    request = APIRequestFactory().get("/")
    request.user = AnonymousUser()
    assert SessionOnly.as_view()(request).status_code == 401


def test_the_schema_names_the_three_ways() -> None:
    generator: Any = SchemaGenerator  # which has no types
    schema = generator(patterns=[path("who", WhoAmI.as_view())]).get_schema(public=True)
    schemes = schema["components"]
    described = schemes["securitySchemes"]
    assert {name: (each["type"], each.get("in")) for name, each in described.items()} == {
        "accessToken": ("http", None),
        "apiKey": ("apiKey", "header"),
        "browserSession": ("apiKey", "cookie"),
    }
