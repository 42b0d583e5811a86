"""A deployment for a test: a database of its own, a bus of its own, real server processes."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tests.backends import POSTGRES, REDIS
from tests.launching import ROOT, Process, launcher
from tests.ports import free_port

__all__ = ["ROOT", "Answer", "Deployment", "Server"]

STARTUP_SECONDS = 30.0

SECRET_KEY = secrets.token_urlsafe(48)
"""Of all deployments: the keys that a template has are good in its copies only with its own."""

WIDE_KEY = ("create_api_key", "may do all", "--grant-publish=**", "--grant-subscribe=**")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; body is decoded JSON where it is JSON, text otherwise."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class Server:
    """A running server process."""

    process: Process
    port: int
    log: Path
    command: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def request(
        self, method: str, path: str, body: Any = None, *, key: str = "", timeout: float = 10
    ) -> Answer:
        """Send an HTTP request with a client of the standard library."""
        request = urllib.request.Request(self.url + path, method=method)
        if key:
            request.add_header("Authorization", f"Api-Key {key}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=timeout) as answer:
                return _answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), dict(error.headers))

    def publish(self, key: str, topic: str, payload: Any, **more: Any) -> Answer:
        """Publish one message over REST."""
        body = {"topic": topic, "payload": payload, **more}
        return self.request("POST", "/api/v1/publish", body, key=key)

    def wait_until_ready(self) -> None:
        """Wait for /readyz."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended:\n{self.log.read_text()}")
            try:
                if self.request("GET", "/readyz", timeout=2).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server is not ready:\n{self.log.read_text()}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Stop as an operator would; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(10)


def _answer(status: int, body: bytes, headers: dict[str, str]) -> Answer:
    text = body.decode()
    is_json = "json" in headers.get("Content-Type", headers.get("content-type", ""))
    return Answer(status, json.loads(text) if is_json and text else text, headers)


@dataclass
class Deployment:
    """A database and the environment that its servers and commands run in."""

    backend: str
    directory: Path
    env: dict[str, str]
    servers: list[Server] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    """What the commands printed that its template was made with; first a key that may do all."""

    @property
    def key(self) -> str:
        """An API key that may publish and subscribe to everything."""
        return self.printed[0]

    @classmethod
    def create(cls, backend: str, directory: Path, template: "Deployment | None") -> "Deployment":
        """Make a database: a copy of an unused deployment's, or an empty one."""
        name = f"bw_{os.getpid()}_{secrets.token_hex(4)}"
        env = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
        env |= {
            "DJANGO_SETTINGS_MODULE": "config.settings.development",
            "SECRET_KEY": SECRET_KEY,
            "NOTIFICATIONS_METRICS_TOKEN": "",
            "PYTHONWARNINGS": "default",
        }
        if backend == "postgres":
            source = template.env["DATABASE_URL"].rsplit("/", 1)[1] if template else "template1"
            with psycopg.connect(POSTGRES, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'.encode())
            env |= {
                "DATABASE_URL": f"{POSTGRES.rsplit('/', 1)[0]}/{name}",
                "REDIS_URL": REDIS,
                "NOTIFICATIONS_BUS_PREFIX": name,
            }
        else:
            path = directory / f"{name}.sqlite3"
            if template is not None:
                shutil.copy(template.env["DATABASE_URL"].removeprefix("sqlite:///"), path)
            env["DATABASE_URL"] = f"sqlite:///{path}"
        printed = list(template.printed) if template is not None else []
        return cls(backend, directory, env, printed=printed)

    @classmethod
    def template(
        cls,
        backend: str,
        templates: "dict[str, Deployment]",
        directory: Path,
        *commands: Sequence[str],
    ) -> "Deployment":
        """Return the migrated deployment that others are copied from, made when first needed.

        commands: of manage.py, which it was prepared with. Each takes longer than a copy.
        """
        name = f"{backend} {commands}"
        if name not in templates:
            if commands:
                made = cls.create(backend, directory, cls.template(backend, templates, directory))
                made.printed += made.manage_all(*commands)
            else:
                made = cls.create(backend, directory, None)
                _, key = made.manage_all(("migrate", "--verbosity", "0"), WIDE_KEY)
                made.printed.append(key)
            templates[name] = made
        return templates[name]

    def manage(self, *arguments: str, timeout: float = 60) -> str:
        """Run a manage.py command and return what it printed on stdout."""
        return self._run("manage.py", *arguments, timeout=timeout)

    def manage_all(self, *commands: Sequence[str]) -> list[str]:
        """Run manage.py commands in one process and return what each printed, stripped."""
        printed: list[str] = json.loads(self._run("-m", "tests.managing", json.dumps(commands)))
        return printed

    def _run(self, *arguments: str, timeout: float = 60) -> str:
        with TemporaryDirectory(dir=self.directory) as folder:
            output, errors = Path(folder) / "output", Path(folder) / "errors"
            process = launcher().launch(arguments, self.env, output, errors)
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
            if code:
                raise AssertionError(f"{arguments} failed:\n{errors.read_text()}")
            return output.read_text()

    def start(self, *arguments: str, port: int = 0, **env: str) -> Server:
        """Start a server and wait until it is ready.

        arguments: those of `manage.py`, or of Python where the first begins with a dash; `serve`
        by default.
        """
        port = port or free_port()
        log = self.directory / f"server-{port}-{len(self.servers)}.log"
        command = arguments or ("serve", "--port", str(port))
        parts = [part.replace("{port}", str(port)) for part in command]
        if not parts[0].startswith("-"):
            parts.insert(0, "manage.py")
        process = launcher().launch(parts, self.env | env, log)
        server = Server(process, port, log, command)
        self.servers.append(server)
        server.wait_until_ready()
        return server

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the database with a client that is not Django."""
        if self.backend == "postgres":
            with psycopg.connect(self.env["DATABASE_URL"]) as connection:
                return connection.execute(sql.encode()).fetchall()
        import sqlite3

        with sqlite3.connect(self.env["DATABASE_URL"].removeprefix("sqlite:///")) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        """Change the database with a client that is not Django."""
        if self.backend == "postgres":
            with psycopg.connect(self.env["DATABASE_URL"]) as connection:
                connection.execute(sql.encode())
            return
        import sqlite3

        with sqlite3.connect(self.env["DATABASE_URL"].removeprefix("sqlite:///")) as connection:
            connection.execute(sql)

    def close(self) -> None:
        """Stop what runs and drop the database."""
        for server in self.servers:
            server.stop()
        if self.backend == "postgres":
            name = self.env["DATABASE_URL"].rsplit("/", 1)[1]
            with psycopg.connect(POSTGRES, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
