"""What is measured: a server that can be prepared once and started fresh for each round."""

from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from bench.load.dialects import Target
from bench.load.posting import Endpoint


class Site(NamedTuple):
    """Where the run's stores are. run: part of every name that the run leaves outside itself."""

    postgres_url: str
    redis_url: str
    run: str


class Server(NamedTuple):
    """A running server, and how the load reaches it.

    target: where to subscribe.  endpoint: where to publish one message over REST.
    sink: how a fan-out's messages go in, as bench.load.sinks.open_sink reads it.
    """

    pid: int
    target: Target
    endpoint: Endpoint
    sink: dict[str, Any]


class Contender(Protocol):
    """One side of the comparison."""

    name: str

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Make what all rounds share (a migrated database), and remove it at the end."""
        ...

    def started(self) -> AbstractAsyncContextManager[Server]:
        """Start a fresh server on a fresh copy of the database, and end both."""
        ...
