"""Work that one process of all does at a time."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connection, connections

_SPACE = zlib.crc32(b"bellwether.sweeps") & 0x7FFF_FFFF
"""Keeps our advisory locks apart from those of others in the same database."""


def key_of(name: str) -> tuple[int, int]:
    """Return the key of a name's advisory lock."""
    return _SPACE, zlib.crc32(name.encode()) & 0x7FFF_FFFF


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Take a name's lock without waiting; yield whether it is ours.

    It is an advisory lock of a PostgreSQL connection, so it goes with the process that dies.
    Sweeps commit as they go, which a lock of a transaction would not outlive, and give their
    connection back to the pool meanwhile, so the lock has a connection of its own. SQLite serves
    one host and needs none.
    """
    if connection.vendor != "postgresql":
        yield True
        return
    own = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key_of(name))
            (is_ours,) = cursor.fetchone()
            try:
                yield is_ours
            finally:
                if is_ours:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key_of(name))
    finally:
        own.close()
