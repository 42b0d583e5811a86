"""What a client says to each server until it is subscribed. Pure: no socket, no clock.

A conversation is a generator: it yields the text to send, or None to only wait, and is given the
text of the server's next message. It ends when the client is subscribed, and returns what the
client needs to come back, if there is such a thing.
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote

Memory = dict[str, Any]
# It returns a Memory, or nothing.
Conversation = Generator[bytes | None, bytes, Any]


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

    dialect: a key of DIALECTS.  token: an access token or API key, for ours.
    tokens: what clients have in turn instead, where they are of several users.
    run: tells the client ids of one run from those of another.
    url_path: the path to ask for instead of the dialect's own.
    """

    dialect: str
    port: int
    topic: str
    token: str
    run: str
    host: str = "127.0.0.1"
    url_path: str = ""
    tokens: Sequence[str] = ()

    @property
    def path(self) -> str:
        """The URL that the socket asks for."""
        return self.url_path or DIALECTS[self.dialect].path.format(topic=quote(self.topic))

    @property
    def headers(self) -> Mapping[str, str]:
        """What the upgrade carries besides RFC 6455's own fields."""
        return DIALECTS[self.dialect].headers

    def converse(self, index: int) -> Conversation:
        """Begin the conversation of client `index`."""
        return DIALECTS[self.dialect].converse(self, index, None)


class Returning(NamedTuple):
    """A client that was at `target` before and comes back with what it remembers."""

    target: Target
    memory: Memory | None

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self.target.port

    @property
    def path(self) -> str:
        """The URL that the socket asks for."""
        return self.target.path

    @property
    def headers(self) -> Mapping[str, str]:
        """What the upgrade carries besides RFC 6455's own fields."""
        return self.target.headers

    def converse(self, index: int) -> Conversation:
        """Resume, where the dialect knows that; otherwise subscribe anew."""
        return DIALECTS[self.target.dialect].converse(self.target, index, self.memory)


class Dialect(NamedTuple):
    """How to speak to one kind of server.

    path: may contain {topic}.  heartbeat: what a client sends to prove life; None: a PING frame
    of the WebSocket.  replies: what a client must answer to which message of the server.
    """

    path: str
    converse: Callable[[Target, int, Memory | None], Conversation]
    headers: Mapping[str, str] = {}
    heartbeat: bytes | None = None
    replies: Mapping[bytes, bytes] = {}


def frame(**fields: Any) -> bytes:
    """Write a frame."""
    return json.dumps(fields, separators=(",", ":")).encode()


def expect(text: bytes, wanted: str) -> dict[str, Any]:
    """Read a frame that must be of a type; raises Refused."""
    read: dict[str, Any] = json.loads(text)
    if read.get("type") != wanted:
        raise Refused(f"expected {wanted}, got {text[:300].decode(errors='replace')}")
    return read


def _begins(text: bytes, wanted: bytes) -> None:
    if not text.startswith(wanted):
        raise Refused(f"expected {wanted!r}, got {text[:300]!r}")


def _ours(target: Target, index: int, memory: Memory | None) -> Conversation:
    token = target.tokens[index % len(target.tokens)] if target.tokens else target.token
    auth = {"type": "auth", "token": token, "clientId": f"bench-{target.run}-{index}"}
    if memory:
        answer = expect((yield frame(**auth, resume=memory)), "auth_success")
        if not answer["resumed"]:
            raise Refused("the session was not resumed")
        complete = expect((yield None), "replay_complete")
        if not complete["recovered"]:
            raise Refused("the replay was not whole")
        return {"sessionId": answer["sessionId"], "cursor": complete["cursor"]}
    answer = expect((yield frame(**auth)), "auth_success")
    expect((yield frame(type="subscribe", id=1, topic=target.topic)), "subscribed")
    return {"sessionId": answer.get("sessionId"), "cursor": answer.get("cursor")}


def _baseline(target: Target, index: int, memory: Memory | None) -> Conversation:
    expect((yield None), "ready")
    return None


def _bare(target: Target, index: int, memory: Memory | None) -> Conversation:
    """Nothing: whoever is connected is subscribed."""
    yield from ()
    return None


def _nats(target: Target, index: int, memory: Memory | None) -> Conversation:
    """The NATS client protocol; the answer to a PING says that the SUB before it is in force."""
    _begins((yield None), b"INFO ")
    connect = b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\n'
    subscribe = b"SUB %b 1\r\n" % target.topic.encode()
    _begins((yield connect + subscribe + b"PING\r\n"), b"PONG")
    return None


def _socketio(target: Target, index: int, memory: Memory | None) -> Conversation:
    """Engine.IO 4 opens, then Socket.IO connects to the default namespace."""
    _begins((yield None), b"0{")
    _begins((yield b"40"), b"40")
    return None


DIALECTS: Final[Mapping[str, Dialect]] = {
    "ours": Dialect(
        "/ws",
        _ours,
        headers={"Sec-WebSocket-Protocol": "notifications.v1.json"},
        heartbeat=b'{"type":"ping"}',
    ),
    "baseline": Dialect("/ws/{topic}/", _baseline),
    "bare": Dialect("/", _bare),
    "nats": Dialect("/", _nats, heartbeat=b"PING\r\n", replies={b"PING\r\n": b"PONG\r\n"}),
    "nchan": Dialect("/sub/{topic}", _bare),
    "socketio": Dialect("/socket.io/?EIO=4&transport=websocket", _socketio, replies={b"2": b"3"}),
}
