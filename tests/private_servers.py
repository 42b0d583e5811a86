"""A Redis and a PostgreSQL server of a test's own, to be killed, stopped and started again.

The shared ones serve other tests. Only processes that were started here are signalled, by their id.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg
import pytest

from tests.ports import free_port

WAIT = 30.0
"""Seconds in which a server answers after its start."""

_POSTGRES_HOMES = "/usr/lib/postgresql"

S = TypeVar("S", bound="PrivateServer")


class PrivateServer:
    """A server process, with its children. Subclasses say what starts it and whether it answers."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _popen(self) -> "subprocess.Popen[bytes]":
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether it serves, within a second or so."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = self._popen()
        deadline = time.monotonic() + WAIT
        while not self.answers():
            assert self._process.poll() is None, "the private server ended"
            assert time.monotonic() < deadline, "the private server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9, the children too: they would go on for a while without their parent."""
        assert self._process is not None
        family = self._family()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait(10)
        psutil.wait_procs(family, timeout=10)

    def freeze(self) -> None:
        """Stop it with SIGSTOP: its sockets stay, the kernel takes what comes, nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: int) -> None:
        for one in self._family():
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def _family(self) -> list[psutil.Process]:
        """The process, which can make no more children once it is stopped, and those it has."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]


class PrivateRedis(PrivateServer):
    """A Redis that keeps nothing."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def _popen(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [
                *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", tempfile.gettempdir()),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as peer:
                peer.sendall(b"PING\r\n")
                return peer.recv(7).startswith(b"+PONG")
        except OSError:
            return False


class PrivatePostgres(PrivateServer):
    """A PostgreSQL cluster in a folder of its own; the role is `root`, the database `postgres`.

    Without fsync: what kill -9 leaves in the system's memory stays, so no commit is lost by it.
    """

    def __init__(self, binaries: Path) -> None:
        super().__init__()
        self._binaries = binaries
        # Not pytest's own folder, which the user that it runs as could not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="bellwether-postgres-"))
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                *(self._binaries / "initdb", "--pgdata", self._folder / "data", "--no-sync"),
                *("--auth=trust", "--username=root", "--encoding=UTF8", "--no-locale"),
            ],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
            timeout=60,
        )

    @property
    def url(self) -> str:
        return f"postgres://root@127.0.0.1:{self.port}/postgres"

    def _popen(self) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(self._binaries / "postgres", "-D", self._folder / "data"),
                    *("-p", str(self.port), "-c", "listen_addresses=127.0.0.1"),
                    *("-c", "unix_socket_directories=", "-c", "fsync=off"),
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    """Have a Redis; skips the test where there is no `redis-server`."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server is found on the PATH")
    yield from _running(PrivateRedis())


@contextmanager
def private_postgres() -> Iterator[PrivatePostgres]:
    """Have a PostgreSQL; skips the test where there is no `initdb`."""
    found = shutil.which("initdb") or max(
        map(str, Path(_POSTGRES_HOMES).glob("*/bin/initdb")), default=None
    )
    if found is None:
        pytest.skip("no initdb is found, on the PATH or below /usr/lib/postgresql")
    yield from _running(PrivatePostgres(Path(found).parent))


def _running(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.close()
