"""A program in another process that talks to a server; the test hears it line by line."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deployment import Deployment, Server

DEADLINE_SECONDS = 60.0


@dataclass
class Program:
    """A running program, which writes all that it says to one file."""

    process: subprocess.Popen[bytes]
    output: Path

    def said(self) -> list[str]:
        """Return its lines so far."""
        return self.output.read_text(encoding="utf-8").splitlines()

    def wait_for(self, line: str) -> None:
        """Wait until it has said a line; fail when it ends without."""

        def holds() -> bool:
            if line in self.said():
                return True
            assert self.process.poll() is None, f"it ended:\n{self.output.read_text()}"
            return False

        wait(holds, self.said)

    def end(self) -> int:
        """Wait until it ends by itself and return its exit code."""
        return self.process.wait(DEADLINE_SECONDS)


def wait(holds: Callable[[], object], explain: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


@contextmanager
def running(command: Sequence[str | Path], cwd: Path, env: dict[str, str]) -> Iterator[Program]:
    """Run a program in a folder, with an environment of its own; it ends with the test."""
    output = cwd / "output"
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=stream, stderr=stream)
    try:
        yield Program(process, output)
    finally:
        process.kill()
        process.wait(10)


def make_key(deployment: Deployment) -> str:
    """Make an API key for the topics that the programs use, and no others."""
    grants = ("--grant-publish=user.**", "--grant-subscribe=user.**")
    return deployment.manage("create_api_key", "packages", *grants).strip()


def stored(server: Server, key: str, topic: str) -> list[object]:
    """Return the payloads that a topic keeps."""
    answer = server.request("GET", f"/api/v1/topics/{topic}/messages", key=key)
    assert answer.status == 200, answer.body
    return [message["payload"] for message in answer.body["messages"]]


def converse(program: Program, server: Server, key: str) -> None:
    """Play the other side of each program in programs/: it subscribes to `user.7.*`, gets two
    messages, publishes one of its own to `user.7.replies`, and ends."""
    program.wait_for("ready")
    for text in ("first", "second"):
        assert server.publish(key, "user.7.orders", {"text": text}).status == 201
        program.wait_for(f"user.7.orders {text}")
    program.wait_for("published")
    assert program.end() == 0, program.said()
    assert stored(server, key, "user.7.replies") == [{"text": "thanks"}]
    said = program.said()
    assert [line for line in said if line.startswith("user.7.orders ")] == [
        "user.7.orders first",
        "user.7.orders second",
    ], "each once, in order"
    assert said[-1] == "disconnected"
