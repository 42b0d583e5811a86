"""A driver as a process: commands go in, observations come out."""

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self

from tests.deployment import ROOT

Client = Literal["python", "typescript"]
Observation = dict[str, Any]

BUNDLE: Final = ROOT / "notifications/static/notifications/client.js"
WS: Final = ROOT / "notifications/browser/node_modules/ws/wrapper.mjs"
WAIT: Final = 20.0
"""Seconds for anything that a driver is waited for; many times what a slow machine needs."""


class DriverEnded(AssertionError):
    """The process ended by itself; what it wrote on stderr is the message."""


class DriverProcess:
    """One client in a process of its own.

    `observations` has what was printed and not yet read; its bound is the length of a scenario.
    """

    def __init__(self, client: Client, storage: Path) -> None:
        self.client = client
        self.storage = storage
        self.observations: asyncio.Queue[Observation] = asyncio.Queue()
        self.complaints = bytearray()
        self._echoes: dict[int, asyncio.Event] = {}
        self._process: asyncio.subprocess.Process
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            *_command(self.client, self.storage), cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._read_errors())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill it: a page that is closed says no goodbye."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.wait(self._tasks, timeout=WAIT)

    def tell(self, do: str, **fields: Any) -> None:
        """Give a command; what it leads to is observed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")

    async def settle(self) -> None:
        """Wait until all commands so far were begun, and what they printed has been read."""
        number = len(self._echoes)
        came = self._echoes[number] = asyncio.Event()
        self.tell("echo", id=number)
        ended = asyncio.create_task(self._process.wait())
        waiting = asyncio.create_task(came.wait())
        await asyncio.wait({ended, waiting}, timeout=WAIT, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        waiting.cancel()
        if not came.is_set():
            raise DriverEnded(self.complaints.decode() or "the driver does not answer")

    async def next(self) -> Observation:
        """Return the next observation."""
        async with asyncio.timeout(WAIT):
            return await self.observations.get()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            observation = json.loads(line)
            if (number := observation.get("echo")) is not None:
                self._echoes[number].set()
            else:
                self.observations.put_nowait(observation)

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.complaints += line


def _command(client: Client, storage: Path) -> list[str]:
    if client == "python":
        return [sys.executable, "-m", "tests.clients.driver", str(storage)]
    node = shutil.which("node")
    assert node is not None, "Node is not installed"
    driver = ROOT / "tests/clients/driver.mjs"
    return [node, str(driver), str(BUNDLE), str(storage), str(WS)]
