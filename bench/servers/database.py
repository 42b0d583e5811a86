"""Private databases on a PostgreSQL server, dropped at the end of the run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


def url_of(server_url: str, name: str) -> str:
    """Return the URL of database `name` on the server that `server_url` names."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def _execute(server_url: str, statement: sql.Composed) -> None:
    connection = await psycopg.AsyncConnection.connect(
        url_of(server_url, "postgres").replace("postgres://", "postgresql://", 1),
        autocommit=True,
        connect_timeout=5,
    )
    async with connection:
        await connection.execute("SET statement_timeout = '30s'")
        await connection.execute(statement)


@asynccontextmanager
async def database(
    server_url: str, name: str, *, template: str = "template0"
) -> AsyncIterator[str]:
    """Create a database, a copy of `template`, yield its URL and drop it with its connections."""
    new, old = sql.Identifier(name), sql.Identifier(template)
    await _execute(server_url, sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(new, old))
    try:
        yield url_of(server_url, name)
    finally:
        await _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(new))
