"""Our server, as `manage.py serve` runs it in production: PostgreSQL, Redis, one process."""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.load.dialects import Target
from bench.load.posting import Endpoint
from bench.servers.contender import Server, Site
from bench.servers.database import database
from bench.servers.process import free_port, run, serving

TOPIC: Final = "bench.fanout"
_COMMAND_SECONDS: Final = 60.0
# In a saturated run. A log that commits in groups is fed by many publishers, not by one.
_PUBLISHES_AT_ONCE: Final = 32
_MAKE_USERS: Final = """
from accounts.models import TopicGrant, User
from accounts.refresh import start_family
names = (f"bench-{{number}}" for number in range({count}))
users = User.objects.bulk_create(User(username=name, password="!") for name in names)
TopicGrant.objects.bulk_create(
    TopicGrant(user=user, action="subscribe", pattern="bench.**") for user in users
)
print(*(start_family(user).access for user in users))
"""
# Set here and nowhere else: what the caller's shell says must not change what is measured.
_OWN = ("NOTIFICATIONS_", "DATABASE_", "DJANGO_", "CELERY_", "REDIS_", "LOG_", "ALLOWED_")


class Ours:
    """Contender: the project in the folder `project`, which may be another checkout of it.

    token: what subscribers authenticate with; the publishing API key when empty.
    settings: environment variables besides those that all benchmarks have.
    users: clients have a token of one of so many in turn; 0: that one key or token.
    policies: arguments of `manage.py policy` for each that is to be there.
    """

    name = "ours"

    def __init__(
        self,
        site: Site,
        *,
        project: Path,
        token: str = "",
        users: int = 0,
        settings: Mapping[str, str] | None = None,
        policies: Sequence[Sequence[str]] = (),
    ) -> None:
        self._site = site
        self._project = project
        self._token = token
        self._users = users
        self._settings = settings or {}
        self._policies = policies
        self._template = f"bw_bench_{site.run}_ours_template"
        self.metrics_token = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self._key = ""

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Migrate a template database and make an API key in it."""
        async with database(self._site.postgres_url, self._template) as url:
            await self.manage("migrate", "--verbosity=0", database_url=url)
            grants = ("--grant-publish", "bench.**", "--grant-subscribe", "bench.**")
            key = await self.manage("create_api_key", "bench", *grants, database_url=url)
            self._key = key.strip()
            for policy in self._policies:
                await self.manage("policy", *policy, database_url=url)
            yield

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        """Serve a copy of the template."""
        async with self.copied() as url:
            tokens = await self.tokens(url, self._users) if self._users else []
            async with self.served(url) as server:
                yield server._replace(target=server.target._replace(tokens=tokens))

    @asynccontextmanager
    async def copied(self) -> AsyncIterator[str]:
        """Copy the template; yield the copy's URL. One at a time."""
        site = self._site
        name = f"bw_bench_{site.run}_ours"
        async with database(site.postgres_url, name, template=self._template) as url:
            yield url

    @asynccontextmanager
    async def served(self, url: str) -> AsyncIterator[Server]:
        """Serve a database, which may have been served before."""
        site, port = self._site, free_port()
        command = [sys.executable, "manage.py", "serve", "--host=127.0.0.1", f"--port={port}"]
        async with serving(
            command, cwd=self._project, env=self._environment(url), port=port, ready="/readyz"
        ) as pid:
            endpoint = Endpoint(port, "/api/v1/publish", f"Api-Key {self._key}")
            yield Server(
                pid=pid,
                target=Target("ours", port, TOPIC, self._token or self._key, site.run),
                endpoint=endpoint,
                sink={
                    "kind": "rest",
                    "endpoint": endpoint._asdict(),
                    "topic": TOPIC,
                    "at_once": _PUBLISHES_AT_ONCE,
                },
            )

    async def tokens(self, url: str, users: int) -> list[str]:
        """Make so many users who may subscribe in a database; return an access token of each."""
        script = _MAKE_USERS.format(count=users)
        answer = await self.manage("shell", "--verbosity=0", "-c", script, database_url=url)
        return answer.split()

    async def manage(self, *arguments: str, database_url: str) -> str:
        """Run a management command on a database; return what it printed."""
        return await run(
            [sys.executable, "manage.py", *arguments],
            cwd=self._project,
            env=self._environment(database_url),
            timeout=_COMMAND_SECONDS,
        )

    def _environment(self, database_url: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        return kept | {
            "DEBUG": "0",  # as deployed; with it on, Django keeps the queries of every request
            "SECRET_KEY": self._secret,
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": database_url,
            "REDIS_URL": self._site.redis_url,
            "LOG_LEVEL": "WARNING",
            "NOTIFICATIONS_BUS_PREFIX": f"bench-{self._site.run}",
            "NOTIFICATIONS_RATE_LIMITS": "off",
            "NOTIFICATIONS_METRICS_TOKEN": self.metrics_token,
            "NOTIFICATIONS_MAX_CONNECTIONS": "20000",
            "NOTIFICATIONS_DRAIN_WINDOW_SECONDS": "1",
            **self._settings,
        }
