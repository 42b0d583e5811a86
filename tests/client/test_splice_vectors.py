"""The client's inbox against the rows that the browser's client runs too."""

import asyncio
from typing import Any

import msgspec
import pytest

from notifications.client import ConnectionEnded, NotificationClient
from notifications.client.wire import Received
from notifications.protocol.frames import AuthSuccess
from tests.client.fake_server import auth_success, message
from tests.recovery.vectors import SPLICES

COMPLETE: dict[str, dict[str, Any]] = {
    "auth_success": auth_success(),
    "message": {key: value for key, value in message(1).items() if key not in ("seq", "position")},
    "replay_complete": {"count": 0},
    "pong": {"serverTime": ""},
}


def read(frame: dict[str, Any]) -> Received:
    """Complete a frame of the vectors, and read it as the client does."""
    whole = COMPLETE.get(frame["type"], {}) | frame
    decoder = msgspec.json.Decoder(Received)
    found: Received = decoder.decode(msgspec.json.encode(whole))
    return found


class Consumer:
    """An application whose handling can be held up."""

    def __init__(self, client: NotificationClient) -> None:
        self.client = client
        self.handled: list[list[int] | None] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def run(self) -> None:
        async for received in self.client:
            self.handled.append(None if received.position is None else list(received.position))
            await self.goes_on.wait()


async def settle() -> None:
    """Let the consumer come as far as it can: it waits for nothing but the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


def wire(client: NotificationClient) -> Any:
    return msgspec.to_builtins(client.cursor)


async def connect(client: NotificationClient, success: AuthSuccess, asks: Any) -> None:
    """Lose the connection, if there was one, and get this one."""
    client.lost(ConnectionEnded("lost"), 0.0)
    hello = await client.hello(0, None)
    if asks is not None:
        assert hello.resume is not None
        assert msgspec.to_builtins(hello.resume.cursor) == asks
    client.accepted(success)


@pytest.mark.parametrize("row", SPLICES, ids=lambda row: row["name"])
async def test_the_client_does_as_the_vectors_say(row: dict[str, Any]) -> None:
    client = NotificationClient("ws://localhost/ws", token="t", on_event=lambda event: None)
    consumer = Consumer(client)
    running = asyncio.create_task(consumer.run())
    for step in row["frames"]:
        if step == "hold":
            consumer.goes_on.clear()
        elif step == "release":
            consumer.goes_on.set()
        elif "type" not in step:
            assert wire(client) == step["cursor"]
        else:
            frame = read({key: value for key, value in step.items() if key != "asks"})
            if isinstance(frame, AuthSuccess):
                await connect(client, frame, step.get("asks"))
            else:
                await client.take(frame)
        await settle()
    assert not running.done()
    running.cancel()
    assert consumer.handled == row["handled"]
    assert wire(client) == row["cursor"]
