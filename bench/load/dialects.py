"""What a client says to each server until it is subscribed. Pure: no socket, no clock.

A conversation is a generator: it yields the text to send, or None to only wait, and is given the
text of the server's next message. It ends when the client is subscribed.
"""

import json
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, Protocol

Conversation = Generator[bytes | None, bytes, None]


class Refused(ConnectionError):
    """The server answered something other than what a subscription needs."""


class Speaker(Protocol):
    """Whoever opens a connection: where to, and what to say there."""

    @property
    def port(self) -> int:
        """Where the server listens."""
        ...

    @property
    def path(self) -> str:
        """The URL that the socket asks for."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What the upgrade carries besides RFC 6455's own fields."""
        ...

    def converse(self, index: int) -> Conversation:
        """Begin the conversation of client `index`."""
        ...


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


def frame(**fields: Any) -> bytes:
    """Write a frame."""
    return json.dumps(fields, separators=(",", ":")).encode()


def expect(text: bytes, wanted: str) -> dict[str, Any]:
    """Read a frame that must be of a type; raises Refused."""
    read: dict[str, Any] = json.loads(text)
    if read.get("type") != wanted:
        raise Refused(f"expected {wanted}, got {text[:300].decode(errors='replace')}")
    return read


def _ours(target: Target, index: int) -> Conversation:
    client = f"bench-{target.run}-{index}"
    expect((yield frame(type="auth", token=target.token, clientId=client)), "auth_success")
    expect((yield frame(type="subscribe", id=1, topic=target.topic)), "subscribed")


def _baseline() -> Conversation:
    expect((yield None), "ready")
