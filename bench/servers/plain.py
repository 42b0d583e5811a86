"""The baseline's server: bench.baseline under uvicorn, with the fast loop and parser."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.servers.contender import Server, Site
from bench.servers.database import database
from bench.servers.process import free_port, run, serving

_ROOT: Final = Path(__file__).resolve().parents[2]
_GROUP: Final = "bench.fanout"
_MIGRATE_SECONDS: Final = 60.0


class Baseline:
    """Contender: a plain Channels consumer and a plain DRF view."""

    name = "baseline"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._template = f"bw_bench_{site.run}_baseline_template"
        self._prefix = f"bench-{site.run}-baseline"

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Create the table in a template database."""
        command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
        async with database(self._site.postgres_url, self._template) as url:
            env = self._environment(url)
            await run(command, cwd=_ROOT, env=env, timeout=_MIGRATE_SECONDS)
            yield

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve a copy of the template."""
        async with self.copied() as url, self.served(url) as server:
            yield server

    @asynccontextmanager
    async def copied(self) -> AsyncIterator[str]:
        """Copy the template; yield the copy's URL. One at a time."""
        site = self._site
        name = f"bw_bench_{site.run}_baseline"
        async with database(site.postgres_url, name, template=self._template) as url:
            yield url

    @asynccontextmanager
    async def served(self, url: str) -> AsyncIterator[Server]:
        """Serve a database, from one process more if it is served already."""
        site, port = self._site, free_port()
        async with serving(
            _uvicorn(port), cwd=_ROOT, env=self._environment(url), port=port, ready="/ready"
        ) as pid:
            yield Server(
                pid=pid,
                target=Target("baseline", port, _GROUP, "", site.run),
                endpoint=Endpoint(port, "/publish", ""),
                sink={
                    "kind": "layer",
                    "redis_url": site.redis_url,
                    "prefix": self._prefix,
                    "group": _GROUP,
                },
            )

    def _environment(self, database_url: str) -> dict[str, str]:
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "bench.baseline.settings",
            "BENCH_DATABASE_URL": database_url,
            "BENCH_REDIS_URL": self._site.redis_url,
            "BENCH_PREFIX": self._prefix,
        }


def _uvicorn(port: int) -> list[str]:
    # uvloop, httptools and websockets-sansio are what `auto` picks where they are installed;
    # named, so that nothing is measured with another by accident.
    return [
        *(sys.executable, "-m", "uvicorn", "bench.baseline.asgi:application"),
        *("--host=127.0.0.1", f"--port={port}", "--lifespan=off"),
        *("--loop=uvloop", "--http=httptools", "--ws=websockets-sansio"),
        *("--ws-per-message-deflate=false", "--no-access-log", "--log-level=warning"),
    ]
