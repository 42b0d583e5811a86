"""The queue of publishes against the rows that the TypeScript client runs too."""

import asyncio
import json
from typing import Any

import pytest

from bellwether_client import ConnectionError, NotificationError, QueueConfig
from bellwether_client.codec import JsonCodec
from bellwether_client.fields import instant
from bellwether_client.frames import ErrorFrame, Published
from bellwether_client.outbox import Outbox
from bellwether_client.requests import Requests
from bellwether_client.sendable import Sendable
from bellwether_client.tasks import Timers
from tests.client.vectors import vectors
from tests.client.virtual import virtual
from tests.client.world import settle, wait


class Queue:
    """An outbox whose connection is the test."""

    def __init__(self, config: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        self.requests = Requests()
        self.timers = Timers()
        self.sent: list[dict[str, Any]] = []
        self.keys: dict[int, str] = {}
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.settled: set[int] = set()
        self.outbox = Outbox(
            QueueConfig(
                max_size=config["maxSize"],
                max_age=config["maxAge"],
                overflow_strategy=config["overflowStrategy"],
            ),
            sendable=Sendable(JsonCodec()),
            requests=self.requests,
            send=lambda data: self.sent.append(json.loads(data)),
            timers=self.timers,
            elapsed=lambda: loop.time() * 1_000,
            new_id=lambda: f"key{len(self.answers)}-{loop.time()}",
        )
        self.ids: dict[int, Any] = {}

    def took(self) -> list[int]:
        """Return what went out since the last look; under the same key as before."""
        found, self.sent = self.sent, []
        for frame in found:
            number, key = frame["payload"], frame["idempotencyKey"]
            assert self.keys.setdefault(number, key) == key
            self.ids[number] = frame["id"]
        return [frame["payload"] for frame in found]

    def outcomes(self) -> tuple[dict[str, str], list[int]]:
        """Return what was rejected and resolved since the last look."""
        rejected, resolved = {}, []
        for number, answer in self.answers.items():
            if not answer.done() or number in self.settled:
                continue
            self.settled.add(number)
            error = answer.exception()
            if error is None:
                resolved.append(number)
            else:
                rejected[str(number)] = getattr(error, "code", "ENDED")
        return rejected, resolved

    async def do(self, step: dict[str, Any]) -> None:
        match step["do"]:
            case "publish":
                self.publish(step)
            case "connect":
                self.outbox.resume()
            case "lose":
                self.outbox.suspend()
                self.requests.lose()
            case "answer":
                request_id = self.ids[step["n"]]
                at = instant({"at": "2030-01-01T00:00:00.000Z"}, "at")
                reply = Published(request_id, "m", "a", at, None, None, False)
                self.requests.answer(request_id, reply)
            case "refuse":
                error = NotificationError(
                    step["code"],
                    "No.",
                    temporary=step["temporary"],
                    retry_after=step.get("retryAfter"),
                )
                request_id = self.ids[step["n"]]
                self.requests.answer(request_id, ErrorFrame(request_id, error))
            case "wait":
                await wait(step["ms"])
            case "end":
                self.outbox.abandon(ConnectionError("network_error", "gone"))
        await settle()

    def publish(self, step: dict[str, Any]) -> None:
        if "throws" not in step:
            self.answers[step["n"]] = self.outbox.publish("a", step["n"], {}, None)
            return
        with pytest.raises(NotificationError) as refused:
            self.outbox.publish("a", step["n"], {}, None)
        assert refused.value.code == step["throws"]


@pytest.mark.parametrize("row", vectors("queue")["rows"], ids=lambda row: row["name"])
@virtual
async def test_the_queue_does_as_the_vectors_say(row: dict[str, Any]) -> None:
    queue = Queue(row["queue"])
    for step in row["steps"]:
        await queue.do(step)
        rejected, resolved = queue.outcomes()
        assert queue.took() == step.get("sent", []), step
        assert rejected == step.get("rejected", {}), step
        assert resolved == step.get("resolved", []), step
    queue.timers.cancel_all()
