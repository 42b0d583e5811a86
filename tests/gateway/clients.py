"""Connections without a server: over the real log and hub, and nothing between."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from accounts.principal import Principal
from notifications.database import in_database
from notifications.gateway.admission import Admitted
from notifications.gateway.connection import Connection
from notifications.gateway.requests import Requests
from notifications.hub import Hub
from notifications.hub.flusher import Flusher
from notifications.hub.subscriber import Wish
from notifications.log.append import append
from notifications.process import Process
from notifications.process.gate import Gate
from notifications.protocol.codec import DEFAULT_SUBPROTOCOL, SUBPROTOCOLS
from notifications.protocol.conversation import Request
from notifications.protocol.states import State
from notifications.services.renewing import Renewals
from notifications.services.subscriptions import SubscriptionChanges
from tests.records import publication

WAIT = 30.0

Frame = dict[str, Any]


class Client:
    """The frames that a connection sends, and a way to wait for them."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.connection: Connection
        self._news = asyncio.Event()

    async def take(self, event: dict[str, Any]) -> None:
        if event["type"] == "websocket.send":
            self.frames.append(json.loads(event["text"]))
        else:
            self.frames.append({"type": event["type"], "code": event["code"]})
        self._news.set()

    async def until(self, kind: str) -> Frame:
        """Wait for a frame of a kind; return the first."""
        async with asyncio.timeout(WAIT):
            while True:
                for frame in self.frames:
                    if frame["type"] == kind:
                        return frame
                self._news.clear()
                await self._news.wait()

    async def until_another(self, count: int) -> Frame:
        """Wait until more than so many frames have come; return the next one."""
        async with asyncio.timeout(WAIT):
            while len(self.frames) <= count:
                self._news.clear()
                await self._news.wait()
        return self.frames[count]

    async def ask(self, frame: Any) -> None:
        """Carry out a request."""
        await Requests(self.connection).carry_out([Request(frame)])

    def payloads(self) -> list[Any]:
        return [frame["payload"] for frame in self.frames if frame["type"] == "message"]


async def client_of(hub: Hub, *patterns: str) -> Client:
    """Return a client that is authenticated and subscribed."""
    client = Client()
    process = SimpleNamespace(
        hub=hub,
        flusher=Flusher(asyncio.get_running_loop()),
        gate=Gate(now=0.0),
        subscriptions=SubscriptionChanges(),
        renewals=Renewals(),
        note=lambda change: None,
        health=lambda: 1.0,
        server_id="test",
        by_handle={},
    )
    codec = SUBPROTOCOLS[DEFAULT_SUBPROTOCOL]
    connection = Connection(
        cast(Process, process), {"extensions": {}}, client.take, Admitted(codec, None, "")
    )
    connection.principal = Principal(
        id="key:1", user_id=None, name="x", is_admin=False, publish=(), subscribe=("**",)
    )
    connection.client_id = "test"
    connection.conversation.state = State.OPEN
    await hub.follow(patterns)
    hub.register(connection.subscriber)
    for pattern in patterns:
        hub.add(connection.subscriber, pattern, Wish(f"id of {pattern}"))
    connection.subscriber.acked = hub.offsets()
    client.connection = connection
    return client


async def publish(hub: Hub, *topics: str) -> None:
    """Publish a message to each topic, numbered from 0, and see that the hub has them."""
    _, records = await in_database(append, [publication(t, n) for n, t in enumerate(topics)])
    hub.relay(records)
    partition, last = records[-1].partition, records[-1].offset
    async with asyncio.timeout(WAIT):
        while hub.offsets()[partition] < last:
            await hub.look()
