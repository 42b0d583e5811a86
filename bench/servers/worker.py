"""A worker of the load, asked over its pipes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bench.machine.cores import LOAD_CORES, pin
from bench.servers.process import ServerFailed, end

_ROOT: Final = Path(__file__).resolve().parents[2]
_ANSWER_BYTES: Final = 1 << 20


class Worker:
    """One process of the load generator."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.pid = process.pid
        self._process = process
        self._name = name

    async def ask(self, do: str, *, within: float, **values: Any) -> dict[str, Any]:
        """Send one request and return its answer, `within` so many seconds.

        Raises ServerFailed when it fails, and when the worker is gone or late.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
        try:
            async with asyncio.timeout(within):
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
        except (TimeoutError, ConnectionError) as error:
            raise ServerFailed(f"{self._name}: {do}: {type(error).__name__}") from error
        if not line:
            raise ServerFailed(f"{self._name}: {do}: the worker ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerFailed(f"{self._name}: {do}: {answer['error']}")
        return answer


@asynccontextmanager
async def worker(module: str) -> AsyncIterator[Worker]:
    """Start `python -m module` on the load's core; its stderr is ours."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_ANSWER_BYTES,
        start_new_session=True,
    )
    try:
        pin(process.pid, LOAD_CORES)
        yield Worker(process, module)
    finally:
        await end(process)
