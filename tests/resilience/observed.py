"""What a server process holds, as the kernel and its own metrics tell it."""

import asyncio
import re
import secrets
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.machine.queues import queues
from tests.backends import POSTGRES
from tests.deployment import Server

DATABASE_PORT = urlsplit(POSTGRES).port or 5432

DEPLOYED = {
    "DEBUG": "0",
    "DJANGO_SETTINGS_MODULE": "config.settings.production",
    "ALLOWED_HOSTS": "127.0.0.1",
    "NOTIFICATIONS_METRICS_TOKEN": secrets.token_urlsafe(16),
    "NOTIFICATIONS_RATE_LIMITS": "off",
    "LOG_LEVEL": "WARNING",
}
"""A server as it is deployed: in development Django remembers the queries of each connection."""

KIB = 1024
MIB = 1024 * KIB


class Held(NamedTuple):
    """What a server holds at a moment.

    descriptors: open files and sockets, without those of its bounded pool of connections to the
    database, which is filled when there is need. tasks: of its event loop.
    connections, subscriptions: as its metrics count them. resident: bytes of memory.
    """

    descriptors: int
    tasks: int
    connections: int
    subscriptions: int
    resident: int

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.tasks} tasks, {self.connections} connections, "
            f"{self.subscriptions} subscriptions, {self.resident / MIB:.1f} MiB"
        )


def resident(server: Server) -> int:
    """Return the bytes of memory that a server's process holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * KIB


def figures(server: Server) -> dict[str, float]:
    """Return a server's metrics by name and labels."""
    asked = urllib.request.Request(server.url + "/metrics")
    asked.add_header("Authorization", f"Bearer {DEPLOYED['NOTIFICATIONS_METRICS_TOKEN']}")
    with urllib.request.urlopen(asked, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def held(server: Server) -> Held:
    """Return what a server holds now; blocks."""
    known = figures(server)
    return Held(
        descriptors=_descriptors(server),
        tasks=int(known["bellwether_tasks"]),
        connections=int(known["bellwether_connections"]),
        subscriptions=int(known["bellwether_subscriptions"]),
        resident=resident(server),
    )


def _descriptors(server: Server) -> int:
    opened = Path(f"/proc/{server.process.pid}/fd")
    pooled = {f"socket:[{queue.inode}]" for queue in queues(peer=DATABASE_PORT)}
    count = 0
    for link in list(opened.iterdir()):
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        count += target not in pooled and ".sqlite3" not in target
    return count


async def back_to(server: Server, base: Held, *, within: float) -> tuple[Held, float]:
    """Wait until a server holds no more than a base, memory aside, as long as it may take.

    Returns what it holds then, and after how many seconds.
    """
    started = time.monotonic()
    while True:
        now = await asyncio.to_thread(held, server)
        passed = time.monotonic() - started
        if all(part <= other for part, other in zip(now[:-1], base[:-1], strict=True)):
            return now, passed
        assert passed < within, f"after {passed:.0f} s the server still holds {now}, not {base}"
        await asyncio.sleep(0.25)
