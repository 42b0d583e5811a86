"""API keys with grants, and a client that uses them."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from accounts.services import create_api_key
from notifications.services.policies import policies


@dataclass(frozen=True)
class Api:
    """Whoever holds an API key, with Django's test client."""

    key: str
    principal: str

    def get(self, path: str, **query: Any) -> Any:
        """GET a path below /api/v1/."""
        return self._client().get(f"/api/v1/{path}", query)

    def put(self, path: str, body: Any) -> Any:
        """PUT a JSON value to a path below /api/v1/."""
        data = json.dumps(body).encode()
        return self._client().generic(
            "PUT", f"/api/v1/{path}", data, content_type="application/json"
        )

    def delete(self, path: str) -> Any:
        """DELETE a path below /api/v1/."""
        return self._client().delete(f"/api/v1/{path}")

    def post(self, path: str, body: Any, content_type: str = "application/json") -> Any:
        """POST to a path below /api/v1/; bytes go as they are, other values as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._client().generic("POST", f"/api/v1/{path}", data, content_type=content_type)

    def publish(self, topic: str, payload: Any = None, **more: Any) -> Any:
        """Publish one message."""
        return self.post("publish", {"topic": topic, "payload": payload, **more})

    def _client(self) -> Client:
        return Client(headers={"Authorization": f"Api-Key {self.key}"})


def holder(name: str, *patterns: str, is_admin: bool = False) -> Api:
    """Make an API key that may publish to and subscribe inside of patterns."""
    key, text = create_api_key(name=name, publish=patterns, subscribe=patterns, is_admin=is_admin)
    return Api(text, key.principal_id)


@pytest.fixture
def api(transactional_db: None) -> Api:
    """A key for a.**"""
    return holder("ordinary", "a.**")


@pytest.fixture
def admin(transactional_db: None) -> Api:
    """A key with the admin scope."""
    return holder("admin", is_admin=True)


@pytest.fixture(autouse=True)
def _stale_policies() -> None:
    """Have the policies read again: those of the test before are gone with its rows."""
    policies._read_at = float("-inf")
