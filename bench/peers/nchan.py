"""nchan: an nginx of the run's own, one process, messages kept in memory."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.peers.peer import TOPIC, folder, nothing
from bench.servers.contender import Server
from bench.servers.process import free_port, serving

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
# As many publishes on their way as ours is given.
_PUBLISHES_AT_ONCE: Final = 32
_CONFIGURATION: Final = """
load_module {module};
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /ready {{ return 200 "ok"; }}
        location ~ ^/sub/([a-z.]+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
        location ~ ^/pub/([a-z.]+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 1m;
        }}
    }}
}}
"""


class Nchan:
    """Contender: nginx with the nchan module."""

    name = "nchan"

    def __init__(self, run: str) -> None:
        self._run = run

    def missing(self) -> str | None:
        """Name Debian's packages."""
        if shutil.which("nginx") and _MODULE.exists():
            return None
        return "apt install --no-install-recommends nginx-light libnginx-mod-nchan"

    def install(self) -> Sequence[Sequence[str]]:
        """Nothing: it is a package of the system."""
        return ()

    def prepared(self) -> AbstractAsyncContextManager[None]:
        """Nothing is shared."""
        return nothing()

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve with a configuration of our own; the system's is not read."""
        port = free_port()
        async with folder() as home:
            configuration = home / "nginx.conf"
            configuration.write_text(_CONFIGURATION.format(module=_MODULE, home=home, port=port))
            async with serving(
                ["nginx", "-p", str(home), "-e", "stderr", "-c", str(configuration)],
                cwd=home,
                env=os.environ,
                port=port,
                ready="/ready",
            ) as pid:
                endpoint = Endpoint(port, f"/pub/{TOPIC}", "")
                yield Server(
                    pid=pid,
                    target=Target("nchan", port, TOPIC, "", self._run),
                    endpoint=endpoint,
                    sink={
                        "kind": "rest",
                        "endpoint": endpoint._asdict(),
                        "topic": "",
                        "at_once": _PUBLISHES_AT_ONCE,
                    },
                )
