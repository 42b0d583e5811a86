"""What all peers have in common."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from bench.servers.contender import Server

TOPIC: Final = "bench.fanout"
HERE: Final = Path(__file__).parent
# What is fetched or built for peers; git ignores it.
CACHE: Final = HERE.parents[1] / "build" / "bench"


class Peer(Protocol):
    """One peer. It is made with the run's name, which it puts into client ids."""

    name: str

    def missing(self) -> str | None:
        """Say how to install what is not there; None when nothing is missing."""
        ...

    def install(self) -> Sequence[Sequence[str]]:
        """Return the commands that put it into CACHE; none where a package manager must."""
        ...

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Make what all rounds share."""
        ...

    def started(self) -> AbstractAsyncContextManager[Server]:
        """Start a fresh server, and end it."""
        ...


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """Prepare nothing."""
    yield


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """Yield a folder for a server's files, and remove it."""
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as name:
        yield Path(name)
