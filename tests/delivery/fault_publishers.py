"""Publishers of a fault run: steady, each publish under a key of its own, retried until answered.

A publisher whose server is away goes on at the other one. It does not slow down: what was due
while it could not publish is published afterwards.
"""

import asyncio
import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection

from tests.delivery.history import Acknowledged, Event, Failed, History, Invoked, Planned, Unknown

PATIENCE = 3.0
"""Seconds for an answer to a publish, and for a connection."""

PAUSE = 0.05
"""Seconds between two attempts."""

REPEAT_EVERY = 10
"""Every so many publishes one is sent again after its answer: the answer must be the same."""

LAST_CALL = 20.0
"""Seconds after the end in which a publish that was begun is still retried."""


class Plan:
    """What a publisher publishes, and what it notes of it.

    rate: publishes a second. stop: set when no more are planned.
    """

    def __init__(
        self,
        name: str,
        history: History,
        topics: Sequence[str],
        *,
        rate: float,
        stop: threading.Event,
        chance: random.Random,
    ) -> None:
        self.name = name
        self.stop = stop
        self.lag = 0.0
        """Seconds by which the publish that was begun last was late."""
        self._history = history
        self._topics = topics
        self._rate = rate
        self._chance = chance
        self._noted = 0

    def due(self) -> Iterator[tuple[float, dict[str, Any], int]]:
        """Yield when each publish is due, its body, and how often it must be answered.

        The consumer waits until then. Ends with `stop`; what was due before and not come to is
        noted as planned all the same.
        """
        start = time.monotonic()
        for number in itertools.count():
            if self.stop.is_set():
                break
            due = start + number / self._rate
            key = f"{self.name}-{number}"
            body = {
                "topic": self._chance.choice(self._topics),
                "payload": {"key": key},
                "idempotencyKey": key,
            }
            yield due, body, 1 + (number % REPEAT_EVERY == 0)
        stopped = time.monotonic()
        while (due := start + self._noted / self._rate) < stopped:
            self.planned(f"{self.name}-{self._noted}", due)

    def planned(self, key: str, due: float) -> None:
        self._noted += 1
        self.lag = time.monotonic() - due
        self.note(Planned(publisher=self.name, key=key, due=due))

    def invoked(self, body: dict[str, Any]) -> None:
        self.note(Invoked(publisher=self.name, key=body["idempotencyKey"], topic=body["topic"]))

    def unknown(self, body: dict[str, Any], reason: str) -> None:
        self.note(Unknown(publisher=self.name, key=body["idempotencyKey"], reason=reason))

    def failed(self, body: dict[str, Any], reason: str) -> None:
        self.note(Failed(publisher=self.name, key=body["idempotencyKey"], reason=reason))

    def acknowledged(self, body: dict[str, Any], answer: dict[str, Any], id_: str) -> None:
        self.note(
            Acknowledged(
                publisher=self.name,
                key=body["idempotencyKey"],
                topic=answer["topic"],
                id=id_,
                seq=answer["seq"],
                position=(answer["position"][0], answer["position"][1]),
            )
        )

    def note(self, event: Event) -> None:
        self._history.record(event)


class RestPublisher(threading.Thread):
    """Publishes with POST /api/v1/publish, over one connection at a time."""

    def __init__(self, plan: Plan, urls: Sequence[str], key: str, *, first: int) -> None:
        super().__init__(name=plan.name, daemon=True)
        self._plan = plan
        self._servers = [urlsplit(url).netloc for url in urls]
        self._headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        self._turn = first
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Publish until there is no more to do."""
        for due, body, wanted in self._plan.due():
            if self._plan.stop.wait(due - time.monotonic()):
                continue
            self._plan.planned(body["idempotencyKey"], due)
            answers, patience = wanted, _Patience(self._plan.stop)
            while answers and patience.is_left:
                if self._attempt(body):
                    answers -= 1
                else:
                    time.sleep(PAUSE)
        self._hang_up()

    def _attempt(self, body: dict[str, Any]) -> bool:
        self._plan.invoked(body)
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    self._servers[self._turn % len(self._servers)], timeout=PATIENCE
                )
            self._connection.request(
                "POST", "/api/v1/publish", json.dumps(body).encode(), self._headers
            )
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._plan.unknown(body, type(error).__name__)
            self._hang_up()
            return False
        if answer.status in (200, 201):
            placed = json.loads(content)
            self._plan.acknowledged(body, placed, placed["id"])
            return True
        if answer.status >= 500:
            self._plan.unknown(body, str(answer.status))
            self._hang_up()
        else:
            self._plan.failed(body, content.decode())
        return False

    def _hang_up(self) -> None:
        """Close the connection; the next one goes to the other server."""
        self._turn += 1
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SocketPublisher:
    """Publishes with the frame `publish`, one at a time."""

    def __init__(self, plan: Plan, urls: Sequence[str], key: str, *, first: int) -> None:
        self._plan = plan
        self._urls = urls
        self._key = key
        self._turn = first
        self._socket: ClientConnection | None = None

    async def run(self) -> None:
        """Publish until there is no more to do."""
        for due, body, wanted in self._plan.due():
            if not await self._wait(due):
                continue
            self._plan.planned(body["idempotencyKey"], due)
            answers, patience = wanted, _Patience(self._plan.stop)
            while answers and patience.is_left:
                if await self._attempt(body):
                    answers -= 1
                else:
                    await asyncio.sleep(PAUSE)
        await self._hang_up()

    async def _wait(self, due: float) -> bool:
        """Wait until a publish is due, for so long as there is something to publish."""
        while (left := due - time.monotonic()) > 0 and not self._plan.stop.is_set():
            await asyncio.sleep(min(left, 0.2))
        return not self._plan.stop.is_set()

    async def _attempt(self, body: dict[str, Any]) -> bool:
        self._plan.invoked(body)
        try:
            async with asyncio.timeout(PATIENCE):
                socket = self._socket or await self._connect()
                request_id = body["idempotencyKey"]
                await socket.send(json.dumps({"type": "publish", "id": request_id, **body}))
                while (answer := json.loads(await socket.recv())).get("id") != request_id:
                    pass
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            self._plan.unknown(body, type(error).__name__)
            await self._hang_up()
            return False
        if answer["type"] == "published":
            self._plan.acknowledged(body, answer, answer["messageId"])
            return True
        if answer["code"] in ("INTERNAL", "UNAVAILABLE", "OVERLOADED"):
            self._plan.unknown(body, answer["code"])
            await self._hang_up()
        else:
            self._plan.failed(body, answer["code"])
        return False

    async def _connect(self) -> ClientConnection:
        socket = self._socket = await websockets.connect(
            self._urls[self._turn % len(self._urls)],
            compression=None,
            ping_interval=None,
            close_timeout=1,
        )
        auth = {"type": "auth", "token": self._key, "clientId": self._plan.name}
        await socket.send(json.dumps(auth))
        answer = json.loads(await socket.recv())
        if answer["type"] != "auth_success":
            if answer["temporary"]:
                raise ConnectionError(answer["code"])
            raise AssertionError(f"{self._plan.name} was refused: {answer}")
        return socket

    async def _hang_up(self) -> None:
        """Close the connection; the next one goes to the other server."""
        self._turn += 1
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(OSError, websockets.WebSocketException):
                await socket.close()


class _Patience:
    """For how long a publish is retried: without end during the run, LAST_CALL after it."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._until: float | None = None

    @property
    def is_left(self) -> bool:
        if not self._stop.is_set():
            return True
        if self._until is None:
            self._until = time.monotonic() + LAST_CALL
        return time.monotonic() < self._until


def make_plans(
    history: History,
    topics: Sequence[str],
    names: Sequence[str],
    *,
    rate: float,
    stop: threading.Event,
    seed: int,
) -> list[Plan]:
    """Make a plan for each publisher; rate: publishes a second of all together."""
    return [
        Plan(
            name,
            history,
            topics,
            rate=rate / len(names),
            stop=stop,
            chance=random.Random(f"{seed} {name}"),
        )
        for name in names
    ]
