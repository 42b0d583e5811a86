"""The floors: servers that only broadcast, one in Python on picows, one in C."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.peers.peer import CACHE, HERE, TOPIC, nothing
from bench.servers.contender import Server
from bench.servers.process import free_port, serving

_PICOWS: Final = CACHE / "picows"
_PICOWS_VERSION: Final = "2.3.1"
_SOURCE: Final = HERE / "floor.c"
_FLOOR: Final = CACHE / "floor"


class _Bare:
    """A server that sends everyone what comes in on a second port."""

    def __init__(self, run: str) -> None:
        self._run = run

    def command(self) -> list[str]:
        """Return what starts it, without its two ports."""
        raise NotImplementedError

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Nothing is shared."""
        return nothing()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve."""
        port, publish_port = free_port(), free_port()
        async with serving(
            [*self.command(), str(port), str(publish_port)],
            cwd=HERE,
            env=os.environ | {"PYTHONPATH": str(_PICOWS)},
            port=port,
            ready="",
        ) as pid:
            yield Server(
                pid=pid,
                target=Target("bare", port, TOPIC, "", self._run),
                endpoint=Endpoint(publish_port, "", ""),
                sink={"kind": "stream", "host": "127.0.0.1", "port": publish_port},
            )


class Picows(_Bare):
    """Contender: picows on uvloop, the least that Python can do."""

    name = "picows"

    def missing(self) -> str | None:
        """Name what fetches it."""
        return None if (_PICOWS / "multidict").exists() else "python -m bench.peers picows"

    def install(self) -> Sequence[Sequence[str]]:
        """Let pip put it into the cache; it does not come into the project's environment."""
        wanted = f"picows=={_PICOWS_VERSION}"
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        return ((*pip, "--upgrade", "--target", str(_PICOWS), wanted),)

    def command(self) -> list[str]:
        """Run its file alone."""
        return [sys.executable, str(HERE / "picows_server.py")]


class Floor(_Bare):
    """Contender: one write for each socket and message, in C; no server can do less."""

    name = "floor"

    def missing(self) -> str | None:
        """Name what builds it."""
        if _FLOOR.exists() and _FLOOR.stat().st_mtime >= _SOURCE.stat().st_mtime:
            return None
        gcc = "" if shutil.which("gcc") else "apt install gcc libc6-dev, then "
        return f"{gcc}python -m bench.peers floor"

    def install(self) -> Sequence[Sequence[str]]:
        """Compile it."""
        return (
            ("mkdir", "-p", str(CACHE)),
            ("gcc", "-O2", "-Wall", "-o", str(_FLOOR), str(_SOURCE)),
        )

    def command(self) -> list[str]:
        """Run the program."""
        return [str(_FLOOR)]
