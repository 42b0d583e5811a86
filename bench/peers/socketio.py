"""Socket.IO on Node, one room, WebSocket only."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.peers.peer import CACHE, HERE, TOPIC, nothing
from bench.servers.contender import Server
from bench.servers.process import free_port, serving

_SOURCE: Final = HERE / "socketio"
_HOME: Final = CACHE / "socketio"
_FILES: Final = ("package.json", "package-lock.json", "server.mjs")


class SocketIo:
    """Contender: a Socket.IO server as its documentation writes one."""

    name = "socketio"

    def __init__(self, run: str) -> None:
        self._run = run

    def missing(self) -> str | None:
        """Name what fetches it."""
        if not shutil.which("node"):
            return "apt install nodejs npm, then python -m bench.peers socketio"
        if not (_HOME / "node_modules" / "socket.io").exists():
            return "python -m bench.peers socketio"
        return None

    def install(self) -> Sequence[Sequence[str]]:
        """Copy its files into the cache, and let npm install what the lock file says."""
        files = [str(_SOURCE / name) for name in _FILES]
        return (
            ("mkdir", "-p", str(_HOME)),
            ("cp", *files, str(_HOME)),
            ("npm", "ci", "--prefix", str(_HOME), "--no-audit", "--no-fund", "--silent"),
        )

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Nothing is shared."""
        return nothing()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve."""
        port, publish_port = free_port(), free_port()
        shutil.copy(_SOURCE / "server.mjs", _HOME)
        async with serving(
            ["node", "server.mjs", str(port), str(publish_port)],
            cwd=_HOME,
            env=os.environ | {"NODE_ENV": "production"},
            port=port,
            ready="/ready",
        ) as pid:
            yield Server(
                pid=pid,
                target=Target("socketio", port, TOPIC, "", self._run),
                endpoint=Endpoint(publish_port, "", ""),
                sink={"kind": "stream", "host": "127.0.0.1", "port": publish_port},
            )
