"""Start Python programs of this project without the second that their libraries take to load.

A process that has the libraries, and nothing of this project, forks itself for each program. The
program gets its own environment, arguments and output, and reads its settings as ever.
"""

import functools
import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent

LIBRARIES = (
    "argon2",
    "channels.routing",
    "channels_redis.pubsub",
    "csp.middleware",
    "django.contrib.admindocs.views",
    "django.core.asgi",
    "django.core.management.commands.migrate",
    "django.db.backends.sqlite3.base",
    "drf_spectacular.utils",
    "environ",
    "jwt",
    "msgspec",
    "prometheus_client",
    "psycopg_pool",
    "rest_framework.authentication",
    "rest_framework.serializers",
    "structlog",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvicorn.supervisors",
    "whitenoise.middleware",
)
"""What can be imported without settings: what reads them at its import fails there.

Nothing that makes an event loop, a thread or a connection, which a fork would share.
"""


class Process(Protocol):
    """What tests do with a process; subprocess.Popen is one."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Launched:
    """A program that was forked; its parent is the launcher, which knows how it ended."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._launcher = launcher

    def poll(self) -> int | None:
        """Return the exit code as subprocess does, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._launcher.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raise subprocess.TimeoutExpired after so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it runs: its number is its own until it was seen to have ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The process that has the libraries, seen from the tests; it ends with them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.launching", str(theirs.fileno())],
                cwd=ROOT,
                env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
                | {"PYTHONWARNINGS": "default"},
                pass_fds=[theirs.fileno()],
            )
        self._lines = self._socket.makefile("r", encoding="utf-8")

    def launch(
        self, arguments: Sequence[str], env: dict[str, str], log: Path, errors: Path | None = None
    ) -> Launched:
        """Start Python with these arguments: a script, or -m and a module, and what they take.

        log: what it writes; errors: what it writes on stderr, where that is to be apart.
        """
        outputs = [str(log), str(errors or log)]
        return Launched(self, self.ask(arguments=arguments, env=env, outputs=outputs))

    def ask(self, **request: Any) -> Any:
        """Have the launcher do something, and return its answer."""
        with self._lock:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._lines.readline()
        if not answer:
            raise AssertionError("the launcher ended")
        return json.loads(answer)


@functools.cache
def launcher() -> Launcher:
    """Return the launcher of this process."""
    return Launcher()


# --- Within the launcher ------------------------------------------------------------------------


def main() -> None:
    """Serve requests until the tests have ended, or become a program."""
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as tests:
        program = _serve(tests)
    if program is not None:
        _become(program)


def _serve(tests: socket.socket) -> dict[str, Any] | None:
    """Answer requests; return the program to become, in the process that is to become it."""
    ended: dict[int, int | None] = {}
    with tests.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if "poll" in request:
                asked = request["poll"]
                if ended[asked] is None and (found := os.waitpid(asked, os.WNOHANG))[0]:
                    ended[asked] = os.waitstatus_to_exitcode(found[1])
                answer = ended[asked]
            elif answer := os.fork():
                ended[answer] = None
            else:
                return dict(request)
            tests.sendall(json.dumps(answer).encode() + b"\n")
    for left in [pid for pid, code in ended.items() if code is None]:
        os.kill(left, signal.SIGKILL)  # the tests were ended before it
    return None


def _become(program: dict[str, Any]) -> None:
    """Run a program as the interpreter would."""
    for stream, path in enumerate(program["outputs"], start=1):
        with Path(path).open("ab") as output:
            os.dup2(output.fileno(), stream)
    os.environ.clear()
    os.environ.update(program["env"])
    random.seed()
    first, *others = program["arguments"]
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
