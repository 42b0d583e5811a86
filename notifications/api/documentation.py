"""The OpenAPI schema: what the records of this door look like, and every way to be refused.

The records themselves are the source, so the schema cannot say anything else than the code does.
"""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from notifications.api.probes import PROBES, SCHEMES
from notifications.api.problems import MEDIA_TYPE, Problem

PREFIX = "/api/v1/"

_REFERENCE = "#/components/schemas/{name}"

_REASONS = {
    400: "`BAD_FRAME`: what was sent is not what is described here; `detail` names the field. "
    "`BAD_TOPIC`: the topic or pattern breaks the grammar",
    401: "`UNAUTHENTICATED`: no credentials, or none that prove anything. "
    "`TOKEN_EXPIRED`: get a fresh access token",
    403: "`FORBIDDEN`: no grant covers this, whether it exists or not; or a browser session "
    "without its CSRF token",
    404: "`UNKNOWN_TOPIC`: nothing was published to it yet. `UNKNOWN_SUBSCRIPTION`: the session "
    "has no such subscription. `NOT_FOUND`: there is nothing here",
    409: "`CONFLICT`: the idempotency key was used with another body; or it is there already. "
    "`ALREADY_SUBSCRIBED`: `data.subscriptionId` names the subscription that there is",
    413: "`PAYLOAD_TOO_LARGE`: over 48 KiB of compact JSON, or the body is over its bound",
    415: "`BAD_FRAME`: another Content-Type is needed",
    429: "`RATE_LIMITED`: wait as `Retry-After` says. `LIMIT_SUBSCRIPTIONS`: the client has as "
    "many subscriptions, or patterns, as it may",
    500: "`INTERNAL`: a defect of the server",
    503: "`UNAVAILABLE`, `OVERLOADED`: nothing was done; wait as `Retry-After` says",
}

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
_HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    "429": _RETRY_AFTER,
    "503": _RETRY_AFTER,
}

_documented: set[type[msgspec.Struct]] = {Problem}


def body(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Refer to a record's schema, and have the schema contain it."""
    _documented.add(record)
    return {"$ref": _REFERENCE.format(name=record.__name__)}


def answered(record: type[msgspec.Struct], description: str = "") -> OpenApiResponse:
    """Describe an answer that carries a record."""
    return OpenApiResponse(response=body(record), description=description)


def refusals(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Describe refusals; what any request may be answered, `complete` adds everywhere."""
    return {
        (status, MEDIA_TYPE): OpenApiResponse(response=body(Problem), description=_REASONS[status])
        for status in statuses
    }


def in_path(name: str, description: str, schema: dict[str, Any]) -> OpenApiParameter:
    """Describe a part of the path."""
    return OpenApiParameter(name, schema, OpenApiParameter.PATH, description=description)


def in_query(record: type[msgspec.Struct], **descriptions: str) -> list[OpenApiParameter]:
    """Describe the query parameters that a record stands for."""
    _, schemas = msgspec.json.schema_components((record,), ref_template=_REFERENCE)
    properties = schemas[record.__name__]["properties"]
    return [
        OpenApiParameter(
            name, _present(schema), OpenApiParameter.QUERY, description=descriptions[name]
        )
        for name, schema in properties.items()
    ]


def complete(result: dict[str, Any], generator: Any, **_: Any) -> dict[str, Any]:
    """Add the records' schemas and the refusals that any operation has; drf-spectacular's hook."""
    components = result.setdefault("components", {}).setdefault("schemas", {})
    components.update(_schemas(_documented))
    everywhere = _everywhere()
    for path in result["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            for status, response in everywhere.items():
                if status != "401" or operation.get("security"):
                    responses.setdefault(status, response)
            for status, response in responses.items():
                if status >= "400":
                    response.setdefault("content", everywhere["500"]["content"])
                    response["headers"] = _HEADERS.get(status, {})
            operation["responses"] = dict(sorted(responses.items()))
            if "requestBody" in operation:
                _say_whether_required(operation["requestBody"], components)
    if any(path.startswith(PREFIX) for path in result["paths"]):  # this site's, not a part of it
        result["paths"] |= PROBES
        result["components"]["securitySchemes"] |= SCHEMES
    return result


def _schemas(records: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    ordered = sorted(records, key=lambda record: record.__name__)
    schemas = dict(msgspec.json.schema_components(ordered, ref_template=_REFERENCE)[1])
    for schema in schemas.values():
        schema["description"] = cleandoc(schema["description"])
    return schemas


def _everywhere() -> dict[str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": body(Problem)}}
    return {
        str(status): {"description": _REASONS[status], "content": content}
        for status in (401, 500, 503)
    }


def _say_whether_required(request_body: dict[str, Any], components: dict[str, Any]) -> None:
    name = request_body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    request_body["required"] = bool(components[name].get("required"))


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an optional field's schema without the null that stands for its absence."""
    alternatives: list[dict[str, Any]] = [
        one for one in schema.get("anyOf", ()) if one.get("type") != "null"
    ]
    return alternatives[0] if len(alternatives) == 1 else schema
