"""A server that keeps the contract in the simplest way, in memory, to try the subscribers on.

One process, one partition, as many doors as there are asked for; no code of the real server.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import websockets
from websockets.asyncio.server import ServerConnection

from tests.delivery.checked_client import covers
from tests.delivery.cursors import offsets_of
from tests.delivery.history import Acknowledged, History, Invoked, Logged, Planned

Frame = dict[str, Any]


@dataclass
class _Peer:
    client_id: str
    socket: ServerConnection
    session_id: str
    outbox: asyncio.Queue[Frame] = field(default_factory=asyncio.Queue)


class ModelServer:
    """skips_one: a flaw to be found: each replay leaves out its second message."""

    def __init__(self, history: History, *, skips_one: bool = False) -> None:
        self.log: list[Frame] = []
        self.urls: list[str] = []
        self.resumes: list[Frame] = []
        """What each `auth` asked to resume."""
        self._history = history
        self._skips_one = skips_one
        self._peers: dict[str, _Peer] = {}
        self._begins: dict[str, dict[str, int]] = {}
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def listening(self, doors: int) -> AsyncIterator[None]:
        """Listen at so many ports meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            servers = [await websockets.serve(self._serve, "127.0.0.1", 0) for _ in range(doors)]
            for server in servers:
                self.urls.append(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws")
            yield
            for server in servers:
                server.close()
                tasks.create_task(server.wait_closed())

    def publish(self, topic: str) -> None:
        """Append a message, deliver it to who is there, and note all that in the history."""
        key = f"key {len(self.log)}"
        message: Frame = {
            "type": "message",
            "id": f"id {len(self.log)}",
            "topic": topic,
            "seq": 1 + sum(one["topic"] == topic for one in self.log),
            "position": [0, len(self.log) + 1],
        }
        place = {"topic": topic, "id": message["id"], "seq": message["seq"]}
        position = (0, len(self.log) + 1)
        self._history.record(
            Planned(publisher="model", key=key, due=time.monotonic()),
            Invoked(publisher="model", key=key, topic=topic),
        )
        self.log.append(message)
        for peer in self._peers.values():
            if self._wants(peer.client_id, message):
                peer.outbox.put_nowait(message)
        self._history.record(Acknowledged(publisher="model", key=key, position=position, **place))

    def audit(self) -> None:
        """Note the log."""
        for number, message in enumerate(self.log):
            self._history.record(
                Logged(
                    id=message["id"],
                    topic=message["topic"],
                    seq=message["seq"],
                    position=(0, number + 1),
                    key=f"key {number}",
                )
            )

    def break_one(self) -> None:
        """Break a connection, the one that has stood longest."""
        for peer in list(self._peers.values())[:1]:
            peer.socket.transport.abort()

    def _cursor(self, offset: int) -> Frame:
        return {"epoch": "x", "offsets": {"0": offset}}

    def _wants(self, client_id: str, message: Frame) -> bool:
        return any(
            covers(pattern, message["topic"]) and message["position"][1] > begin
            for pattern, begin in self._begins.get(client_id, {}).items()
        )

    async def _serve(self, socket: ServerConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            peer = await self._authenticate(socket)
            sending = asyncio.create_task(self._send(peer))
            try:
                async for data in socket:
                    self._answer(peer, json.loads(data))
            finally:
                sending.cancel()
                if self._peers.get(peer.client_id) is peer:
                    del self._peers[peer.client_id]

    async def _send(self, peer: _Peer) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                await peer.socket.send(json.dumps(await peer.outbox.get()))

    async def _authenticate(self, socket: ServerConnection) -> _Peer:
        auth = json.loads(await socket.recv())
        older = self._peers.pop(auth["clientId"], None)
        resume = auth.get("resume")
        session_id = resume["sessionId"] if resume else f"session {next(self._numbers)}"
        peer = _Peer(auth["clientId"], socket, session_id)
        head = len(self.log)
        since = offsets_of(resume["cursor"])[0] if resume else head
        peer.outbox.put_nowait(
            {
                "type": "auth_success",
                "sessionId": session_id,
                "resumed": bool(resume),
                "subscriptions": [{"topic": one} for one in self._begins.get(peer.client_id, {})],
                "cursor": self._cursor(since),
            }
        )
        if resume:
            self.resumes.append(resume)
            missed = [one for one in self.log[since:] if self._wants(peer.client_id, one)]
            if self._skips_one:
                del missed[1:2]
            for message in missed:
                peer.outbox.put_nowait(message | {"replayed": True})
            peer.outbox.put_nowait(
                {
                    "type": "replay_complete",
                    "recovered": True,
                    "count": len(missed),
                    "cursor": self._cursor(head),
                }
            )
        self._peers[peer.client_id] = peer
        if older is not None:
            await older.socket.close(4504)
        return peer

    def _answer(self, peer: _Peer, frame: Frame) -> None:
        cursor = self._cursor(len(self.log))
        if frame["type"] == "ping":
            peer.outbox.put_nowait({"type": "pong", "cursor": cursor})
        else:
            self._begins.setdefault(peer.client_id, {})[frame["topic"]] = len(self.log)
            peer.outbox.put_nowait(
                {"type": "subscribed", "id": frame["id"], "topic": frame["topic"], "cursor": cursor}
            )
