"""nats-server with its WebSocket listener: core NATS, nothing is kept."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.peers.peer import TOPIC, folder, nothing
from bench.servers.contender import Server
from bench.servers.process import free_port, serving

# Clients are not pinged while they are measured. 64 MiB may wait for each, NATS's own default.
_CONFIGURATION: Final = """
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
max_connections: 65536
ping_interval: "10m"
websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true, compression: false }}
"""


class Nats:
    """Contender: a NATS server of the run's own."""

    name = "nats"

    def __init__(self, run: str) -> None:
        self._run = run

    def missing(self) -> str | None:
        """Name Debian's package."""
        return None if shutil.which("nats-server") else "apt install nats-server"

    def install(self) -> Sequence[Sequence[str]]:
        """Nothing: it is a package of the system."""
        return ()

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Nothing is shared."""
        return nothing()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve, without JetStream."""
        port, monitor, websocket = free_port(), free_port(), free_port()
        async with folder() as home:
            configuration = home / "nats.conf"
            configuration.write_text(
                _CONFIGURATION.format(port=port, monitor=monitor, websocket=websocket)
            )
            async with serving(
                ["nats-server", "-c", str(configuration)],
                cwd=home,
                env=os.environ,
                port=monitor,
                ready="/healthz",
            ) as pid:
                yield Server(
                    pid=pid,
                    target=Target("nats", websocket, TOPIC, "", self._run),
                    endpoint=Endpoint(port, "", ""),
                    sink={"kind": "nats", "host": "127.0.0.1", "port": port, "topic": TOPIC},
                )
