"""Server processes without timers, and sockets that are ends of queues."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from notifications.gateway.admission import Admitted
from notifications.gateway.connection import Connection
from notifications.gateway.consumer import NotificationConsumer
from notifications.hub import Hub
from notifications.log.creation import read_identity
from notifications.process import Process
from notifications.protocol.codec import DEFAULT_SUBPROTOCOL, SUBPROTOCOLS
from notifications.services.servers import register_server
from notifications.services.sessions import SessionChange
from tests.recovery.machine.world import BusMode, Fate, World

Frame = dict[str, Any]

NEVER = 1e9
"""Seconds between two looks at the log that nobody asked for."""


class Server(Process):
    """A process whose timers are the test's."""

    @classmethod
    def begin(cls, world: World) -> "Server":
        """Start one."""

        async def begin() -> "Server":
            server = cls()
            await server.launch(world)
            return server

        world.database.release_all()
        server: Server = world.run(begin())
        return server

    async def launch(self, world: World) -> None:
        self.world = world
        self.is_killed = False
        self.hub = Hub(
            world.net, read_identity(), on_control=self._endings.hear, poll_interval=NEVER
        )
        register_server(self.server_id, now=timezone.now())
        await self.hub.start()
        self.channel = self.hub.bus._channel
        self._changes.start()
        self.sockets: list[Socket] = []

    def note(self, change: SessionChange) -> None:
        """Have a session's state written, unless the process is dead."""
        if not self.is_killed:
            super().note(change)

    def set_bus(self, mode: BusMode) -> None:
        """Say what happens to what the bus brings."""
        self.world.net.modes[self.channel] = mode

    def settle_hint(self, index: int, fate: Fate) -> None:
        """Decide on something that the bus holds back."""
        self.world.net.settle(self.channel, index, fate)

    @property
    def feeds(self) -> bool:
        """Whether a connection is off the live stream."""
        return any(one.splice is not None for one in self.hub._subscribers)

    def look(self) -> None:
        """Set out to compare with the log."""
        self._start(self.hub.look())

    def close_ended(self) -> None:
        """Set out to find the sessions that ended elsewhere."""
        self._start(self._endings.close_ended())

    def _start(self, work: Any) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self._loop.create_task(work))

    async def kill(self) -> None:
        """Die: nothing is said or written any more."""
        self.is_killed = True
        for socket in self.sockets:
            socket.task.cancel()
        for task in self._tasks:
            task.cancel()
        if self._changes._task is not None:
            self._changes._task.cancel()
        await self.hub.stop()
        self._loop.call_soon(self.sockets.clear)


class Socket:
    """The client's end of a socket, served by the real consumer.

    take: called with each frame that arrives. closed: the code, once the server closed.
    """

    def __init__(self, server: Server, take: Callable[[Frame], None]) -> None:
        self.server = server
        self.closed: int | None = None
        self._take = take
        self._inbound: asyncio.Queue[Frame] = asyncio.Queue()
        self._consumer = _Consumer(server)
        scope = {"type": "websocket", "headers": [], "subprotocols": []}
        self._inbound.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.get_running_loop().create_task(
            self._consumer(scope, self._inbound.get, self._send)
        )
        server.sockets.append(self)

    def send(self, frame: Frame) -> None:
        """Send a frame to the server."""
        self._inbound.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def drop(self) -> None:
        """Die without a word; what the server still sends goes nowhere."""
        self._take = lambda frame: None
        self.task.cancel()
        if self in self.server.sockets:
            self.server.sockets.remove(self)

    @property
    def is_open(self) -> bool:
        return self.closed is None and not self.task.done()

    async def _send(self, event: Frame) -> None:
        if event["type"] == "websocket.close":
            self.closed = event["code"]
            self._inbound.put_nowait({"type": "websocket.disconnect", "code": self.closed})
        elif event["type"] == "websocket.send":
            try:
                self._take(json.loads(event["text"]))
            except Exception as error:
                self.server.world.failures.append(error)


class _Consumer(NotificationConsumer):
    """A consumer of one of several processes in this loop."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process

    async def websocket_connect(self, event: Frame) -> None:
        admitted = Admitted(SUBPROTOCOLS[DEFAULT_SUBPROTOCOL], None, "")
        self._process.gate.enter("")
        connection = Connection(self._process, self.scope, self.base_send, admitted)
        self._accepted(self._process, connection)
