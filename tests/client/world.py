"""A client and its surroundings, all of which the test holds in hand."""

import asyncio
from typing import Any

from bellwether_client import (
    ClientEvent,
    ConnectionState,
    NotificationClient,
    NotificationClientConfig,
    RetryConfig,
)
from bellwether_client.messages import NotificationMessage
from bellwether_client.surroundings import Surroundings
from tests.client.fake_server import NOW, auth_success, cursor, message
from tests.client.memory import MemorySocket, Network

AT_ONCE = RetryConfig(max_retries=0, initial_delay=1, max_delay=1, jitter=False)
HEARTBEAT = {"interval": 30_000, "timeout": 5_000}


async def settle() -> None:
    """Let everybody come as far as they can without the clock."""
    for _ in range(30):
        await asyncio.sleep(0)


async def wait(milliseconds: float) -> None:
    """Let time pass."""
    await asyncio.sleep(milliseconds / 1_000)


class World:
    """client: with what it told in `states` and `events`; network: where its sockets come out."""

    def __init__(self, network: Network | None = None, **config: Any) -> None:
        loop = asyncio.get_running_loop()
        self.network = network or Network()
        self.states: list[ConnectionState] = []
        self.events: list[ClientEvent] = []
        self.ids = iter(range(1, 10_000_000))
        known = {"url": "ws://server/ws", "auth": "token", "retry_config": AT_ONCE}
        self.client = NotificationClient(
            NotificationClientConfig(**{**known, **config}),
            surroundings=Surroundings(
                transport=self.network,
                now=lambda: 1_900_000_000_000 + loop.time() * 1_000,
                random=lambda: 0.5,
                new_id=lambda: f"id{next(self.ids)}",
            ),
        )
        self.client.on_state_change(self.states.append)
        self.client.on_event(self.events.append)
        self._connecting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "World":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()
        if self._connecting is not None:
            await asyncio.gather(self._connecting, return_exceptions=True)

    def connecting(self) -> "asyncio.Task[None]":
        """Begin to connect."""
        self._connecting = asyncio.create_task(self.client.connect())
        return self._connecting

    async def accept(self, **fields: Any) -> MemorySocket:
        """Accept the next connection; its `auth` is in `hello`."""
        socket = await self.network.socket()
        self.hello = await socket.expect("auth")
        socket.push("auth_success", **without_type(auth_success() | fields))
        await settle()
        return socket

    async def connected(self, **fields: Any) -> MemorySocket:
        """Connect, and be accepted."""
        connecting = self.connecting()
        socket = await self.accept(**fields)
        await connecting
        return socket

    def statuses(self) -> list[str]:
        return [state.status for state in self.states]

    def told(self, kind: str) -> list[Any]:
        """Return the events of a type."""
        return [event for event in self.events if event.type == kind]


def without_type(frame: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in frame.items() if key != "type"}


def grant(socket: MemorySocket, request: dict[str, Any], subscription_id: str = "sub1") -> None:
    """Grant a `subscribe`."""
    socket.push(
        "subscribed",
        id=request["id"],
        subscriptionId=subscription_id,
        topic=request["topic"],
        createdAt=NOW,
        cursor=cursor(),
    )


def refuse(socket: MemorySocket, request: dict[str, Any], code: str, **fields: Any) -> None:
    """Refuse a request."""
    fields = {"message": "No.", "temporary": False} | fields
    socket.push("error", id=request["id"], code=code, **fields)


def deliver(socket: MemorySocket, *offsets: int, **fields: Any) -> None:
    """Deliver the messages at some offsets of partition 0; the payload is the offset."""
    for offset in offsets:
        socket.push("message", **without_type(message(offset) | fields))


def complete(
    socket: MemorySocket, request_id: Any = None, *, count: int = 0, **fields: Any
) -> None:
    """End a replay."""
    ids = {} if request_id is None else {"id": request_id}
    known = {"recovered": True, "count": count, "cursor": cursor(p0=9)}
    socket.push("replay_complete", **ids, **known | fields)


class Handler:
    """Notes what it gets; while it is held, it does not finish. fails: on which payloads."""

    def __init__(self, *, fails: tuple[Any, ...] = ()) -> None:
        self.messages: list[NotificationMessage[Any]] = []
        self.fails = fails
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.messages]

    async def __call__(self, message: NotificationMessage[Any]) -> None:
        self.messages.append(message)
        if message.payload in self.fails:
            raise ValueError(f"cannot take {message.payload}")
        await self.goes_on.wait()
