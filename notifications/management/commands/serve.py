"""Serve HTTP and WebSockets with uvicorn and uvloop."""

import socket
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from uvicorn.supervisors import Multiprocess

from notifications.conf import conf
from notifications.resilience.descriptors import AS_MANY_AS_THERE_ARE, make_room

APPLICATION = "config.asgi:application"
HTTP_PROTOCOL = "notifications.gateway.http_protocol:HttpProtocol"
SOCKET_PROTOCOL = "notifications.gateway.uvicorn_protocol:SocketProtocol"


class Command(BaseCommand):
    """The server that is meant for production, and for everything else."""

    help = "Serve the site: pages, REST, WebSockets."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where and how many."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on")
        parser.add_argument(
            "--workers",
            type=int,
            default=1,
            help="server processes; more than one needs PostgreSQL and Redis",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        workers: int = options["workers"]
        if workers < 1:
            raise CommandError("--workers is 1 or more.")
        if workers > 1 and connection.vendor == "sqlite":
            raise CommandError(
                "SQLite serves one process. Set DATABASE_URL (PostgreSQL) and REDIS_URL for "
                f"{workers} workers, or leave --workers out."
            )
        connection.close()
        self._make_room()
        self.stderr.write(f"Serving on http://{options['host']}:{options['port']}/ (stop: Ctrl-C)")
        config = uvicorn.Config(
            APPLICATION,
            host=options["host"],
            port=options["port"],
            workers=workers,
            loop="uvloop",
            http=HTTP_PROTOCOL,
            ws=SOCKET_PROTOCOL,
            ws_max_size=conf().frame_bytes,
            ws_per_message_deflate=False,
            # The gateway pings, and decides when a silent peer is gone (4408).
            ws_ping_interval=None,
            ws_ping_timeout=None,
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=4096,
            timeout_graceful_shutdown=10,
        )
        if workers == 1:
            Server(config).run()
        else:
            Multiprocess(config, sockets=[config.bind_socket()]).run()

    def _make_room(self) -> None:
        wanted = conf().max_connections
        room = make_room(wanted or AS_MANY_AS_THERE_ARE)
        if room < wanted:
            self.stderr.write(
                f"The operating system lets this process have {room:,} sockets open, fewer than "
                f"NOTIFICATIONS_MAX_CONNECTIONS ({wanted:,}). Raise the hard limit of open files "
                "(`ulimit -Hn`, LimitNOFILE= of systemd), or lower that setting."
            )


class Server(uvicorn.Server):
    """uvicorn's server, which ends with 0 after a signal that it obeyed."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; uvicorn would raise it once more and so die of it."""
        with self.capture_signals():
            await self._serve(sockets)
            self._captured_signals.clear()
