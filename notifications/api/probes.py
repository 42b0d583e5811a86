"""What the OpenAPI schema says of the probes, which are plain views outside of this door."""

from typing import Any


def _answer(description: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _probe(name: str, summary: str, responses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": ["probes"],
            "responses": responses,
            **more,
        }
    }


_TEXT = {"type": "string"}
_HEALTH = {
    "type": "object",
    "properties": {"status": {"const": "ok"}},
    "required": ["status"],
}
_READINESS = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ready", "not ready"]},
        "reasons": {"type": "array", "items": _TEXT},
        "redis": {
            "enum": ["ok", "away"],
            "description": "Left out where the bus does not leave the process. Without Redis "
            "everything works, a little later, so it is no reason.",
        },
    },
    "required": ["status", "reasons"],
}

SCHEMES: dict[str, dict[str, Any]] = {
    "metricsToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "NOTIFICATIONS_METRICS_TOKEN",
    }
}
"""How to prove that one may read the metrics."""

PROBES: dict[str, dict[str, Any]] = {
    "/healthz": _probe(
        "healthz",
        "Is the process alive?",
        {"200": _answer("It is", "application/json", _HEALTH)},
    ),
    "/readyz": _probe(
        "readyz",
        "Shall it get traffic?",
        {
            "200": _answer("It shall", "application/json", _READINESS),
            "503": _answer(
                "It drains, or the database is away or not migrated",
                "application/json",
                _READINESS,
            ),
        },
    ),
    "/metrics": _probe(
        "metrics",
        "Metrics of this process, for Prometheus",
        {
            "200": _answer("docs/metrics.md explains each", "text/plain", _TEXT),
            "401": _answer("The token is missing or wrong", "text/plain", _TEXT),
            "404": _answer("NOTIFICATIONS_METRICS_TOKEN is not set", "text/plain", _TEXT),
        },
        security=[{name: []} for name in SCHEMES],
    ),
}
"""The three paths as drf-spectacular would have them."""
