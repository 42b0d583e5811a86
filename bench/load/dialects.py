"""What a client says to each server until it is subscribed. Pure: no socket, no clock.

A conversation is a generator: it yields the text to send, or None to only wait, and is given the
text of the server's next message. It ends when the client is subscribed.
"""

import json
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

Conversation = Generator[bytes | None, bytes, None]


class Refused(Exception):
    """The server answered something other than what a subscription needs."""


class Target(NamedTuple):
    """Where and how to subscribe.

    dialect: `ours` or `baseline`.  token: an access token or API key, for ours.
    run: tells the client ids of one run from those of another.
    """

    dialect: str
    port: int
    topic: str
    token: str
    run: str

    @property
    def path(self) -> str:
        """The URL that the socket asks for."""
        return "/ws" if self.dialect == "ours" else f"/ws/{self.topic}/"

    @property
    def headers(self) -> Mapping[str, str]:
        """What the upgrade carries besides RFC 6455's own fields."""
        if self.dialect == "ours":
            return {"Sec-WebSocket-Protocol": "notifications.v1.json"}
        return {}

    def converse(self, index: int) -> Conversation:
        """Begin the conversation of client `index`."""
        return _ours(self, index) if self.dialect == "ours" else _baseline()


def _frame(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _expect(text: bytes, wanted: str) -> None:
    if json.loads(text).get("type") != wanted:
        raise Refused(f"expected {wanted}, got {text[:300].decode(errors='replace')}")


def _ours(target: Target, index: int) -> Conversation:
    client = f"bench-{target.run}-{index}"
    _expect((yield _frame(type="auth", token=target.token, clientId=client)), "auth_success")
    _expect((yield _frame(type="subscribe", id=1, topic=target.topic)), "subscribed")


def _baseline() -> Conversation:
    _expect((yield None), "ready")
