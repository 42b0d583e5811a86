"""The contract with uvicorn's own state, and that nothing of a socket is left behind."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from notifications.gateway.lean_socket import (
    Gate,
    LeanSocketProtocol,
    Mailbox,
    UpgradingHttpProtocol,
)
from notifications.gateway.uvicorn_protocol import SocketProtocol
from tests.deployment import Deployment
from tests.gateway.test_authenticating import make_key
from tests.socket_client import connect

WAIT = 30.0

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not done():
            await asyncio.sleep(0.001)


class Http(UpgradingHttpProtocol):
    """Remembers its instances, as long as they are there."""

    made: ClassVar["weakref.WeakSet[Http]"] = weakref.WeakSet()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.made.add(self)


class Echo:
    """An application that sends back what it receives, and shows its sockets' protocols."""

    def __init__(self) -> None:
        self.sockets: list[weakref.ref[SocketProtocol]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.sockets.append(weakref.ref(scope["extensions"]["bellwether.transport"]))
        await receive()
        if scope["path"] == "/refused":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": "notifications.v1.json"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=Http, ws=SocketProtocol, ws_ping_interval=None, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listening]))
    try:
        await until(lambda: server.started)
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def test_it_has_what_uvicorns_has_in_slots() -> None:
    loop = asyncio.new_event_loop()
    try:
        config = uvicorn.Config(Echo(), ws_per_message_deflate=False, ws_ping_interval=None)
        config.load()
        made: list[WebSocketsSansIOProtocol] = [
            kind(config, ServerState(), {"a": 1}, loop)
            for kind in (WebSocketsSansIOProtocol, LeanSocketProtocol)
        ]
    finally:
        loop.close()
    theirs, ours = made
    assert vars(ours) == {}
    ours_has = {name for name in LeanSocketProtocol.__slots__ if hasattr(ours, name)}
    assert ours_has == set(vars(theirs))
    for name, value in vars(theirs).items():
        if name not in ("queue", "writable"):
            assert type(getattr(ours, name)) is type(value), name
            assert value == getattr(ours, name) or name == "conn", name
    differ = {"id", "parser", "reader"}
    theirs_conn, ours_conn = (
        {name: value for name, value in vars(one.conn).items() if name not in differ}
        for one in made
    )
    assert theirs_conn | {"available_extensions": None} == ours_conn


async def test_an_open_socket_keeps_nothing_of_its_handshake() -> None:
    echo = Echo()
    async with serving(echo) as url, connect(url) as client:
        await client.connection.send("1")
        assert await client.connection.recv() == "1"
        protocol = echo.sockets[0]()
        assert protocol is not None
        assert vars(protocol) == {}
        assert not hasattr(protocol, "request")
        assert not hasattr(protocol, "response")
        assert len(protocol.scope) == 0
        assert protocol.ping_timer is None
        await until(lambda: not Http.made)


@pytest.mark.parametrize("path", ["", "/refused"])
async def test_a_closed_socket_needs_no_collector(path: str) -> None:
    echo = Echo()
    gc.collect()
    gc.disable()
    try:
        async with serving(echo) as url:
            try:
                async with connect(url + path) as client:
                    await client.connection.send("1")
                    assert await client.connection.recv() == "1"
            except Exception:
                assert path
            await until(lambda: echo.sockets[0]() is None)
    finally:
        gc.enable()


@pytest.mark.server
@pytest.mark.sqlite
async def test_a_connection_needs_no_collector(embedded: Deployment) -> None:
    """Or else thousands that come and go pile up until the collector comes by."""
    key = make_key(embedded)
    server = embedded.start()

    async def come(number: int) -> None:
        async with connect(server.socket_url) as client:
            await client.authenticate(key, f"c{number % 20}")
            await client.send({"type": "subscribe", "id": 1, "topic": f"a.{number}"})
            await client.send({"type": "publish", "id": 2, "topic": "a.1", "payload": 1})
            await client.send({"type": "ping"})
            await client.receive_until(lambda frame: frame["type"] == "pong")

    def collected() -> float:
        lines = server.request("GET", "/metrics").body.splitlines()
        name = "python_gc_objects_collected_total"
        return sum(float(line.split()[1]) for line in lines if line.startswith(name))

    for number in range(20):
        await come(number)
    before, crowd = collected(), 300
    for number in range(crowd):
        await come(number)
    assert collected() - before < 10 * crowd


# --- The small primitives -----------------------------------------------------------------------


async def test_a_mailbox_gives_events_in_order_as_they_come() -> None:
    mailbox = Mailbox()
    getting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    assert await getting == 1
    assert not mailbox.empty()
    assert await mailbox.get() == 2
    assert mailbox.empty()


async def test_who_stops_waiting_takes_nothing_from_a_mailbox() -> None:
    mailbox = Mailbox()
    getting = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put_nowait(1)
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    assert await mailbox.get() == 1


async def test_a_gate_lets_all_go_on_when_it_opens() -> None:
    gate = Gate()
    await gate.wait()
    gate.clear()
    waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    gate.set()
    await asyncio.gather(*waiting)
    assert gate.is_set()
