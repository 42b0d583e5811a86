"""Which real services the tests can use: the environment's, else those that answer on loopback."""

import os
import socket
from functools import lru_cache

import psycopg

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgres://root@127.0.0.1:5432/postgres")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")


@lru_cache(maxsize=1)
def postgres_answers() -> bool:
    """Tell whether the PostgreSQL server of the tests can be reached."""
    try:
        psycopg.connect(POSTGRES, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@lru_cache(maxsize=1)
def redis_answers() -> bool:
    """Tell whether the Redis server of the tests can be reached."""
    host, _, port = REDIS.removeprefix("redis://").partition(":")
    try:
        with socket.create_connection((host, int(port.split("/")[0])), timeout=2) as peer:
            peer.sendall(b"PING\r\n")
            return peer.recv(7).startswith(b"+PONG")
    except OSError:
        return False
