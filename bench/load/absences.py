"""The worker whose clients go and come back all the time, and check what they get.

Run as `python -m bench.load.absences`.
"""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bench.load.answering import Request, run
from notifications.topics.matching import matches

STAY: Final = (0.5, 4.0)
ABSENCE: Final = (0.5, 8.0)
"""Seconds, from and to: how long a client is there, and how long away."""

ON_ITS_WAY_MS: Final = 2_000
"""Milliseconds after its expiry for which a message may be on its way through a busy machine: the
server looks at the clock when it writes, the client when it reads. Absences are longer."""

_ANSWER_SECONDS: Final = 20.0


@dataclass(slots=True)
class Findings:
    """What clients met; from `late` on all have to be 0.

    replayed, live: messages, by how they came. in_time: those that came before they expired.
    withheld: those that had expired and never came. late_ms: the longest time after its expiry at
    which one came.
    """

    resumes: int = 0
    replayed: int = 0
    live: int = 0
    in_time: int = 0
    withheld: int = 0
    late_ms: int = 0
    late: int = 0
    missing: int = 0
    repeated: int = 0
    gaps: int = 0
    unrecovered: int = 0
    errors: list[str] = field(default_factory=list)


class Client:
    """One client: its patterns, its place, and what it expects of each topic.

    begins: by topic, the newest seq when it subscribed. Topics whose payloads name an instant
    `until` may leave out what has expired.
    """

    def __init__(self, name: str, patterns: list[str], begins: Mapping[str, int]) -> None:
        self.findings = Findings()
        self._name = name
        self._patterns = patterns
        self._next = {
            topic: seq + 1
            for topic, seq in begins.items()
            if any(matches(pattern, topic) for pattern in patterns)
        }
        self._resume: dict[str, Any] | None = None

    def take(self, frame: dict[str, Any], *, now_ms: int) -> None:
        """Take a frame of the server."""
        kind = frame["type"]
        if kind == "message":
            self._take_message(frame, now_ms)
        elif kind == "replay_complete":
            self.findings.unrecovered += not frame["recovered"]
            self._move(frame["cursor"]["offsets"])
        elif kind == "gap":
            self.findings.gaps += 1

    def _take_message(self, frame: dict[str, Any], now_ms: int) -> None:
        found, topic, seq = self.findings, frame["topic"], frame["seq"]
        if frame.get("replayed"):
            found.replayed += 1
        else:
            found.live += 1
        partition, offset = frame["position"]
        self._move({str(partition): offset})
        until = frame["payload"].get("until")
        if until is not None:
            found.in_time += now_ms <= until
            found.late_ms = max(found.late_ms, now_ms - until)
            found.late += now_ms > until + ON_ITS_WAY_MS
        self._reach(topic, seq, may_expire=until is not None)

    def _reach(self, topic: str, seq: int, *, may_expire: bool) -> None:
        jump = seq - self._next.get(topic, 1)
        if jump < 0:
            self.findings.repeated += 1
            return
        if may_expire:
            self.findings.withheld += jump
        else:
            self.findings.missing += jump
        self._next[topic] = seq + 1

    def _move(self, offsets: Mapping[str, int]) -> None:
        assert self._resume is not None
        mine = self._resume["cursor"]["offsets"]
        for partition, offset in offsets.items():
            mine[partition] = max(offset, mine.get(partition, 0))

    def is_through(self, ends: Mapping[str, int]) -> bool:
        """Tell whether it has all that came up to the newest seq of each topic."""
        return all(
            seq > ends.get(topic, 0)
            for topic, seq in self._next.items()
            if not topic.startswith("brief.")
        )

    def close_accounts(self, ends: Mapping[str, int]) -> Findings:
        """Count what is still missing at the end."""
        for topic in self._next:
            self._reach(topic, ends.get(topic, 0) + 1, may_expire=topic.startswith("brief."))
        return self.findings

    async def visit(self, port: int, token: str, *, seconds: float) -> None:
        """Connect, subscribe or resume, and read for so many seconds; then drop the socket."""
        async with connect(
            f"ws://127.0.0.1:{port}/ws",
            subprotocols=["notifications.v1.json"],  # type: ignore[list-item]
            max_queue=None,
            close_timeout=1,
        ) as socket:
            auth = {"type": "auth", "token": token, "clientId": self._name}
            if self._resume is not None:
                auth["resume"] = self._resume  # type: ignore[assignment]
            await socket.send(json.dumps(auth))
            success = json.loads(await asyncio.wait_for(socket.recv(), _ANSWER_SECONDS))
            if success["type"] != "auth_success":
                raise ConnectionError(str(success)[:200])
            if self._resume is None:
                self._resume = {"sessionId": success["sessionId"], "cursor": success["cursor"]}
                for number, pattern in enumerate(self._patterns):
                    await socket.send(
                        json.dumps({"type": "subscribe", "id": number, "topic": pattern})
                    )
                    answer = json.loads(await asyncio.wait_for(socket.recv(), _ANSWER_SECONDS))
                    if answer["type"] != "subscribed":
                        raise ConnectionError(str(answer)[:200])
            else:
                self.findings.resumes += 1
                self.findings.unrecovered += not success["resumed"]
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                try:
                    text = await asyncio.wait_for(socket.recv(), left)
                except TimeoutError:
                    break
                self.take(json.loads(text), now_ms=time.time_ns() // 1_000_000)
            socket.transport.abort()


class Clients:
    """All clients of this worker."""

    def __init__(self) -> None:
        self._all: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._port, self._token = 0, ""

    async def begin(self, request: Request) -> dict[str, Any]:
        """Subscribe client i to the patterns i; then let all go and come back.

        begins: by topic, the newest seq, while nobody publishes.
        """
        self._port, self._token = request["port"], request["token"]
        self._all = [
            Client(f"absent-{number}", patterns, request["begins"])
            for number, patterns in enumerate(request["patterns"])
        ]
        for client in self._all:
            await client.visit(self._port, self._token, seconds=0)
        self._tasks = [asyncio.create_task(self._come_and_go(client)) for client in self._all]
        return {}

    async def end(self, request: Request) -> dict[str, Any]:
        """Have all come back a last time, until they have what was published; answer Findings.

        ends: by topic, the newest seq, now that nobody publishes. seconds: how long they may take.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ends, deadline = request["ends"], time.monotonic() + request["seconds"]
        while time.monotonic() < deadline:
            behind = [client for client in self._all if not client.is_through(ends)]
            if not behind:
                break
            await asyncio.gather(*(self._visit(client, 1.0) for client in behind))
        total = Findings()
        for client in self._all:
            for name, value in asdict(client.close_accounts(ends)).items():
                before = getattr(total, name)
                setattr(total, name, max(before, value) if name == "late_ms" else before + value)
        total.errors = sorted(set(total.errors))[:5]
        return asdict(total)

    async def _come_and_go(self, client: Client) -> None:
        while True:
            await asyncio.sleep(random.uniform(*ABSENCE))
            await self._visit(client, random.uniform(*STAY))

    async def _visit(self, client: Client, seconds: float) -> None:
        try:
            await client.visit(self._port, self._token, seconds=seconds)
        except (OSError, TimeoutError, WebSocketException) as error:
            client.findings.errors.append(f"{type(error).__name__}: {error}"[:200])


def main() -> None:
    """Answer the benchmark's requests."""
    clients = Clients()
    run({"begin": clients.begin, "end": clients.end})


if __name__ == "__main__":
    main()
