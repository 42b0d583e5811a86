"""A server in its own process group: started, waited for, ended, whatever happens."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from bench.machine.cores import SERVER_CORES, pin

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
_LOG_TAIL: Final = 3000


class ServerFailed(Exception):
    """A process did not start, did not answer in time, or ended with an error."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: IO[bytes]) -> str:
    return Path(log.name).read_bytes()[-_LOG_TAIL:].decode(errors="replace")


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process and its group: SIGTERM, then SIGKILL after STOP_SECONDS."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        if process.returncode is not None:
            break
        _signal_group(process.pid, number)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            continue
    # The leader is gone; whatever it left behind in its group goes too.
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


async def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> str:
    """Run a command to its end and return its stdout. Raises ServerFailed with its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        raise ServerFailed(f"{' '.join(command)} took over {timeout} s") from None
    finally:
        await end(process)
    if process.returncode:
        raise ServerFailed(
            f"{' '.join(command)} ended with {process.returncode}:\n"
            f"{(out + err)[-_LOG_TAIL:].decode(errors='replace')}"
        )
    return out.decode()


async def _answers(port: int, path: str) -> bool:
    """Tell whether GET `path` is answered with 200; without a path, whether the port is."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if not path:
                    return True
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                    f"Connection: close\r\n\r\n".encode()
                )
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


@asynccontextmanager
async def serving(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], port: int, ready: str
) -> AsyncIterator[int]:
    """Start a server on the server's core, and yield its pid once GET `ready` answers 200.

    With `ready` empty, it is ready as soon as the port takes connections. It must be within
    READY_SECONDS; otherwise ServerFailed tells the end of its log.
    """
    with tempfile.NamedTemporaryFile(prefix="bench-server-", suffix=".log") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            pin(process.pid, SERVER_CORES)
            await _wait_until_ready(process, port, ready, log)
            yield process.pid
            if process.returncode is not None:
                raise ServerFailed(f"the server died while it was measured:\n{_tail(log)}")
        finally:
            await end(process)


async def _wait_until_ready(
    process: asyncio.subprocess.Process, port: int, ready: str, log: IO[bytes]
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_SECONDS
    while not await _answers(port, ready):
        if process.returncode is not None:
            raise ServerFailed(f"the server ended with {process.returncode}:\n{_tail(log)}")
        if loop.time() > deadline:
            raise ServerFailed(f"GET {ready or 'nothing'} is not answered yet:\n{_tail(log)}")
        await asyncio.sleep(0.05)
