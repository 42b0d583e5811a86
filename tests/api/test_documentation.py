"""What the schema says, beside being valid (`make check`) and true (test_schema_holds)."""

from typing import Any

import pytest
from django.urls import get_resolver
from drf_spectacular.generators import SchemaGenerator

from notifications.api.documentation import in_query
from notifications.api.problems import MEDIA_TYPE
from notifications.api.topics import MessagesQuery
from notifications.errors import ERRORS


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_path_is_in_it(schema: dict[str, Any]) -> None:
    def walk(patterns: list[Any], prefix: str) -> set[str]:
        found = set()
        for one in patterns:
            path = prefix + str(one.pattern)
            nested = getattr(one, "url_patterns", None)
            found |= walk(nested, path) if nested is not None else {path}
        return found

    served = {
        "/" + path.replace("<str:", "{").replace(">", "}")
        for path in walk(get_resolver().url_patterns, "")
        if path.startswith("api/v1/") or path in ("healthz", "readyz", "metrics")
    }
    assert served == set(schema["paths"])


def test_every_refusal_is_a_problem(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        if "/api/" not in name:
            continue
        refusals = {status for status in operation["responses"] if status >= "400"}
        assert {"500", "503"} <= refusals, name
        assert ("401" in refusals) or not operation.get("security"), name
        for status in refusals:
            response = operation["responses"][status]
            assert list(response["content"]) == [MEDIA_TYPE], name
            assert response["description"], name
            wants = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}
            assert list(response["headers"]) == [wants[status]] if status in wants else True, name


def test_whoever_asks_proves_who_they_are_in_three_ways(schema: dict[str, Any]) -> None:
    schemes = schema["components"]["securitySchemes"]
    assert set(schemes) == {"accessToken", "apiKey", "browserSession", "metricsToken"}
    for name, operation in operations(schema):
        if "/api/v1/auth/" in name or "/api/" not in name:
            continue
        offered = [next(iter(one)) for one in operation["security"]]
        assert offered == ["accessToken", "apiKey", "browserSession"], name


def test_codes_that_rest_can_answer_are_explained(schema: dict[str, Any]) -> None:
    text = str(schema["paths"])
    only_on_sockets = {"BAD_CURSOR", "UNKNOWN_TYPE", "LIMIT_CONNECTIONS"}
    assert {code for code in ERRORS if f"`{code}`" not in text} == only_on_sockets


def test_bodies_are_required_where_something_in_them_is(schema: dict[str, Any]) -> None:
    required = {
        name: operation["requestBody"]["required"]
        for name, operation in operations(schema)
        if "requestBody" in operation
    }
    optional = {name for name, is_required in required.items() if not is_required}
    assert optional == {
        "post /api/v1/sessions/{id}/disconnect",
        "put /api/v1/policies/{pattern}",
    }


def test_query_parameters_are_the_fields_of_their_record() -> None:
    found = in_query(MessagesQuery, after="A", before="B", limit="C", order="D")
    described = {one.name: (one.type, one.description) for one in found}
    assert set(described) == {"after", "before", "limit", "order"}
    assert described["after"][1] == "A"
    assert described["after"][0]["maximum"] == 2**53 - 1  # type: ignore[index]
    assert "anyOf" not in described["after"][0]  # type: ignore[operator]
    assert described["limit"][0]["default"] == 100  # type: ignore[index]
