import json
import logging
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest
from django.test import Client, RequestFactory
from rest_framework import exceptions

from notifications.api import fallbacks, stats
from notifications.api.problems import MEDIA_TYPE, exception_handler, problem
from notifications.errors import ERRORS, NotificationError, RateLimited, Unavailable
from tests.api.conftest import Api

SECRET = "a detail of the server's insides"


def answer_to(error: Exception) -> tuple[int, dict[str, Any]]:
    response = exception_handler(error, {})
    assert response["Content-Type"] == MEDIA_TYPE
    return response.status_code, json.loads(response.content)


@pytest.mark.parametrize("error", ERRORS.values())
def test_every_error_of_the_protocol_is_a_problem(error: type[NotificationError]) -> None:
    status, body = answer_to(error("Do this."))
    assert status == body["status"] == error.status
    assert (body["code"], body["detail"], body["type"]) == (error.code, "Do this.", "about:blank")
    assert body["title"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.NotAuthenticated(), 401, "UNAUTHENTICATED"),
        (exceptions.AuthenticationFailed("no"), 401, "UNAUTHENTICATED"),
        (exceptions.AuthenticationFailed("no", code="UNAUTHENTICATED"), 401, "UNAUTHENTICATED"),
        (exceptions.AuthenticationFailed("old", code="TOKEN_EXPIRED"), 401, "TOKEN_EXPIRED"),
        (exceptions.PermissionDenied(), 403, "FORBIDDEN"),
        (PermissionDenied(), 403, "FORBIDDEN"),
        (exceptions.NotFound(), 404, "NOT_FOUND"),
        (Http404(), 404, "NOT_FOUND"),
        (exceptions.ParseError(), 400, "BAD_FRAME"),
        (exceptions.MethodNotAllowed("PUT"), 405, "BAD_FRAME"),
        (exceptions.NotAcceptable(), 406, "BAD_FRAME"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "BAD_FRAME"),
        (exceptions.Throttled(2.5), 429, "RATE_LIMITED"),
        (exceptions.Throttled(), 429, "RATE_LIMITED"),
        (RequestDataTooBig(SECRET), 413, "PAYLOAD_TOO_LARGE"),
        (SuspiciousOperation(SECRET), 400, "BAD_FRAME"),
        (OperationalError(SECRET), 503, "UNAVAILABLE"),
        (InterfaceError(SECRET), 503, "UNAVAILABLE"),
        (exceptions.APIException(SECRET), 500, "INTERNAL"),
        (RuntimeError(SECRET), 500, "INTERNAL"),
    ],
)
def test_other_errors_get_a_code(error: Exception, status: int, code: str) -> None:
    answered, body = answer_to(error)
    assert (answered, body["status"], body["code"]) == (status, status, code)
    assert SECRET not in json.dumps(body)


def test_faults_of_a_serializer_name_their_fields() -> None:
    error = exceptions.ValidationError({"username": ["Too long.", "Too odd."], "x": {"y": ["No."]}})
    _, body = answer_to(error)
    assert body["detail"] == "`username`: Too long. `username`: Too odd. `y`: No."


@pytest.mark.parametrize(
    ("error", "header", "member"),
    [
        (RateLimited("Wait.", retry_after=1), "1", 1),
        (RateLimited("Wait.", retry_after=1001), "2", 1001),
        (RateLimited("Wait.", retry_after=2000), "2", 2000),
        (RateLimited("Wait."), "1", 1000),
        (Unavailable("Wait."), "1", 1000),
        (exceptions.Throttled(2.5), "3", 3000),
        (OperationalError(), "1", 1000),
    ],
)
def test_429_and_503_say_when_to_come_back(error: Exception, header: str, member: int) -> None:
    response = exception_handler(error, {})
    assert response["Retry-After"] == header
    assert json.loads(response.content)["retryAfter"] == member


def test_data_is_passed_on() -> None:
    body = json.loads(problem(ERRORS["ALREADY_SUBSCRIBED"]("Have it.", data={"x": 1})).content)
    assert body["data"] == {"x": 1}


@pytest.mark.django_db
def test_a_401_says_how_to_prove_oneself() -> None:
    answer = Client().get("/api/v1/stats")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "UNAUTHENTICATED"


@pytest.mark.django_db
def test_a_login_that_a_link_brought_is_403(client: Client, django_user_model: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(django_user_model.objects.create_user("ann"))
    body = {"topic": "user.1.x", "payload": 1}
    answer = browser.post("/api/v1/publish", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_failure_is_logged_and_told_to_nobody(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(stats, "read_stats", fail)
    with caplog.at_level(logging.ERROR):
        answer = api.get("stats")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert SECRET not in answer.content.decode()
    assert SECRET in caplog.text


def test_without_the_database_there_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError(SECRET)

    monkeypatch.setattr(stats, "read_stats", fail)
    answer = api.get("stats")
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert answer["Retry-After"] == "1"


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("path", ["/api/", "/api/x", "/api/v1/", "/api/v1/topics/a/b/c", "/api/v2"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_paths_are_problems(path: str, method: str, debug: bool, settings: Any) -> None:
    settings.DEBUG = debug
    answer = Client(enforce_csrf_checks=True).generic(method, path)
    assert answer.status_code == 404
    assert answer["Content-Type"] == MEDIA_TYPE
    assert answer.json()["code"] == "NOT_FOUND"


def test_a_strange_host_is_a_problem() -> None:
    answer = Client(headers={"Host": "evil.example"}).get("/api/v1/stats")
    assert (answer.status_code, answer["Content-Type"]) == (400, MEDIA_TYPE)


def request(path: str) -> HttpRequest:
    return RequestFactory().get(path)


@pytest.mark.parametrize(
    ("path", "is_ours"), [("/api/v1/x", True), ("/apis", False), ("/other", False)]
)
def test_handlers_leave_other_paths_to_django(path: str, is_ours: bool) -> None:
    answers = [
        fallbacks.bad_request(request(path), SuspiciousOperation()),
        fallbacks.page_not_found(request(path), Http404()),
        fallbacks.server_error(request(path)),
    ]
    assert [answer.status_code for answer in answers] == [400, 404, 500]
    assert [answer["Content-Type"] == MEDIA_TYPE for answer in answers] == [is_ours] * 3
