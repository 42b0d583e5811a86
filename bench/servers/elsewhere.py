"""A server that somebody else started, named by the URL of its WebSocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.load.dialects import DIALECTS, Target
from bench.load.posting import Endpoint
from bench.servers.contender import Server

_TOPIC = "bench.fanout"
_PUBLISHES_AT_ONCE = 32


class Unreachable(ValueError):
    """The URLs given do not say how to reach a server; the text says what to give."""


class Elsewhere:
    """Contender: it is there before the run and after it, and its rounds are not fresh.

    url: ws://host:port[/path]. publish: where messages go in: http://… (for ours the REST API, for
    others the payload is the body), nats://host:port, or tcp://host:port (32 bits of length, then
    the message). pid: of the server's process; without it there are no figures of CPU and memory.
    """

    name = "url"

    def __init__(
        self, *, url: str, dialect: str, publish: str, token: str, pid: int, run: str, topic: str
    ) -> None:
        if dialect not in DIALECTS:
            raise Unreachable(f"--dialect: one of {', '.join(DIALECTS)}")
        parts = urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname or not parts.port:
            raise Unreachable("--url: ws://host:port, with a path where the dialect's own is wrong")
        path = parts.path.strip("/") and f"{parts.path}{'?' if parts.query else ''}{parts.query}"
        topic = topic or _TOPIC
        self._server = Server(
            pid=pid,
            target=Target(dialect, parts.port, topic, token, run, parts.hostname, path),
            endpoint=_endpoint(publish, dialect, parts.hostname, parts.port, token),
            sink=_sink(publish, dialect, parts.hostname, parts.port, token, topic),
        )

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Nothing: it is not ours to prepare."""
        yield

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """It runs already."""
        yield self._server


def _endpoint(publish: str, dialect: str, host: str, port: int, token: str) -> Endpoint:
    parts = urlsplit(publish)
    proof = f"Api-Key {token}" if token else ""
    if dialect == "ours" and not publish:
        return Endpoint(port, "/api/v1/publish", proof, host)
    return Endpoint(parts.port or port, unquote(parts.path), proof, parts.hostname or host)


def _sink(
    publish: str, dialect: str, host: str, port: int, token: str, topic: str
) -> dict[str, Any]:
    parts = urlsplit(publish)
    if (dialect == "ours" and not publish) or parts.scheme == "http":
        return {
            "kind": "rest",
            "endpoint": _endpoint(publish, dialect, host, port, token)._asdict(),
            "topic": topic if dialect in ("ours", "baseline") else "",
            "at_once": _PUBLISHES_AT_ONCE,
        }
    if not parts.hostname or not parts.port or parts.scheme not in ("nats", "tcp"):
        raise Unreachable(
            "--publish: where messages go in, as http://host:port/path, nats://host:port or "
            "tcp://host:port"
        )
    if parts.scheme == "nats":
        return {"kind": "nats", "host": parts.hostname, "port": parts.port, "topic": topic}
    return {"kind": "stream", "host": parts.hostname, "port": parts.port}
