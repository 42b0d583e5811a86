"""A small server that keeps the contract, in memory: a log, sessions, subscriptions, replays.

It loses nothing by itself; what a schedule does to its connections is what a client has to bear.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from bellwether_client.codes import CloseCode
from bellwether_client.topics import matches, split
from tests.client.fake_server import NOW, auth_success
from tests.client.memory import Frame, MemorySocket, Network
from tests.client.world import without_type

EPOCH = "x1"
PARTITIONS = 2


@dataclass(slots=True)
class Logged:
    """A message in the log."""

    topic: str
    payload: Any
    partition: int
    offset: int

    def frame(self, *, replayed: bool = False) -> Frame:
        found = {
            "id": f"{self.partition}-{self.offset}",
            "topic": self.topic,
            "payload": self.payload,
            "timestamp": NOW,
            "position": [self.partition, self.offset],
        }
        return found | {"replayed": True} if replayed else found


@dataclass(slots=True)
class Held:
    """A subscription. begin: what lies at or before it is not wanted.

    Of filters it knows that of topics: {"in": ["topic", [...]]}.
    """

    id: str
    topic: str
    options: Frame
    begin: list[int]

    def wants(self, message: Logged) -> bool:
        tree = self.options.get("filter")
        if tree is not None and message.topic not in tree["in"][1]:
            return False
        is_after = message.offset > self.begin[message.partition]
        return is_after and matches(split(self.topic), split(message.topic))


@dataclass(slots=True)
class Line:
    """A connection. frames_left: after so many more it breaks; None: it holds."""

    socket: MemorySocket
    place: list[int]
    acked: list[int]
    frames_left: int | None = None
    is_detached: bool = False
    is_silent: bool = False

    def send(self, kind: str, **fields: Any) -> None:
        if self.frames_left is not None:
            self.frames_left -= 1
            if self.frames_left < 0:
                self.socket.shut(CloseCode.ABNORMAL)
        if not self.is_silent:
            self.socket.push(kind, **fields)


class ModelServer:
    """One client's server. random: chooses how long everything takes."""

    def __init__(self, network: Network, random: Random) -> None:
        self.log: list[Logged] = []
        self.heads = [0] * PARTITIONS
        self.accepted = 0
        self.line: Line | None = None
        self.next_cut: int | None = None
        self.resumed_from: Callable[[list[int]], None] = lambda offsets: None
        self.published: Callable[[Logged], None] = lambda message: None
        self._network = network
        self._random = random
        self._ids = itertools.count(1)
        self._session: str | None = None
        self._held: dict[str, Held] = {}
        self._keys: dict[str, Logged] = {}

    # --- What a schedule does -------------------------------------------------------------------

    def publish(self, topic: str) -> Logged:
        """Store a message, and deliver it live."""
        partition = 0 if topic.startswith("a") else 1
        self.heads[partition] += 1
        message = Logged(topic, len(self.log), partition, self.heads[partition])
        self.log.append(message)
        self.published(message)
        if self.line is not None and not self.line.is_detached:
            self._deliver(self.line, message)
        return message

    def drop(self, code: int = CloseCode.ABNORMAL) -> None:
        """End the connection."""
        if self.line is not None:
            self.line.socket.shut(code)
            self.line = None

    def restart(self, *, keeps_session: bool, keeps_subscriptions: bool) -> None:
        """End the connection as a restart does; perhaps the session is gone then."""
        if self.line is not None:
            self.line.send("disconnect", code=1012, reason="restart", reconnect=True, retryAfter=20)
        self.drop(CloseCode.SERVICE_RESTART)
        if not keeps_session:
            self._session = None
        if not keeps_session and not keeps_subscriptions:
            self._held.clear()

    # --- What it does by itself -----------------------------------------------------------------

    async def serve(self) -> None:
        """Take one connection after the other, until cancelled."""
        async with asyncio.TaskGroup() as lines:
            while True:
                socket = await self._network.socket_of_anybody()
                lines.create_task(self._serve(socket))

    async def _serve(self, socket: MemorySocket) -> None:
        hello = await socket.next()
        if hello is None:
            return
        await self._pause()
        self.drop()  # a newer one takes the session over
        line = Line(socket, list(self.heads), list(self.heads), frames_left=self.next_cut)
        self.line, self.next_cut = line, None
        await self._welcome(line, hello)
        while (frame := await socket.next()) is not None:
            await self._pause()
            if line.is_silent or self.line is not line:
                continue
            await self._answer(line, frame)
        if self.line is line:
            self.line = None

    async def _welcome(self, line: Line, hello: Frame) -> None:
        resume = hello.get("resume", {})
        resumed = self._session is not None and resume.get("sessionId") == self._session
        after = self._offsets(resume["cursor"]) if resumed else list(self.heads)
        if not resumed:
            self._session = f"s{next(self._ids)}"
        self.accepted += 1
        line.acked = after
        fields: Frame = {
            "sessionId": self._session,
            "resumed": resumed,
            "subscriptions": [self._listed(held) for held in self._held.values()],
            "cursor": self._cursor(after),
        }
        line.send("auth_success", **without_type(auth_success() | fields))
        if resumed:
            self.resumed_from(after)
            await self._replay(line, after, list(self._held.values()))
        elif resume:
            # Something is always published before the client can ask for what it missed.
            self.publish(self._random.choice(("a.1", "b.1")))

    async def _answer(self, line: Line, frame: Frame) -> None:
        match frame["type"]:
            case "subscribe":
                await self._subscribe(line, frame)
            case "unsubscribe":
                gone = [held for held in self._held.values() if held.id == frame["subscriptionId"]]
                for held in gone:
                    del self._held[held.topic]
                line.send("unsubscribed", id=frame["id"], subscriptionId=frame["subscriptionId"])
            case "replay":
                only = frame.get("subscriptionId")
                wanted = [held for held in self._held.values() if only in (None, held.id)]
                await self._replay(line, self._offsets(frame["cursor"]), wanted, frame["id"])
            case "verify":
                ids = {held.id for held in self._held.values()}
                inactive = [one for one in frame["subscriptionIds"] if one not in ids]
                rows = [{"subscriptionId": one, "code": "UNKNOWN_SUBSCRIPTION"} for one in inactive]
                line.send("verified", id=frame["id"], active=sorted(ids), inactive=rows)
            case "publish":
                self._publish(line, frame)
            case "ping":
                line.send("pong", t=frame["t"], cursor=self._cursor(self.heads), serverTime=NOW)
            case _:
                raise AssertionError(frame)

    async def _subscribe(self, line: Line, frame: Frame) -> None:
        topic, options = frame["topic"], frame.get("options", {})
        if topic in self._held:
            data = {"subscriptionId": self._held[topic].id}
            fields = {"message": "You have it.", "temporary": False, "data": data}
            line.send("error", id=frame["id"], code="ALREADY_SUBSCRIBED", **fields)
            return
        replays = "since" in options or options.get("replayMissed") is True
        place = list(self.heads)
        after = self._offsets(options["since"]) if "since" in options else list(line.acked)
        held = Held(f"sub{next(self._ids)}", topic, options, after if replays else place)
        self._held[topic] = held
        line.send(
            "subscribed",
            id=frame["id"],
            subscriptionId=held.id,
            topic=topic,
            createdAt=NOW,
            cursor=self._cursor(place),
        )
        if replays:
            await self._replay(line, after, [held], frame["id"])

    def _publish(self, line: Line, frame: Frame) -> None:
        key = frame["idempotencyKey"]
        known = self._keys.get(key)
        message = known or self.publish(frame["topic"])
        self._keys[key] = message
        line.send(
            "published",
            id=frame["id"],
            messageId=f"{message.partition}-{message.offset}",
            topic=message.topic,
            timestamp=NOW,
            position=[message.partition, message.offset],
            **({"duplicate": True} if known else {}),
        )

    # --- Delivery -------------------------------------------------------------------------------

    async def _replay(
        self, line: Line, after: list[int], wanted: list[Held], request_id: Any = None
    ) -> None:
        """Send what follows a place, in the order of the log, then go over to live delivery."""
        line.is_detached = True
        place, count = list(self.heads), 0
        ordered = sorted(self.log, key=lambda message: (message.partition, message.offset))
        for message in ordered:
            lies = after[message.partition] < message.offset <= place[message.partition]
            if lies and any(held.wants(message) for held in wanted):
                line.send("message", **message.frame(replayed=True))
                count += 1
                await self._pause()
        ids = {} if request_id is None else {"id": request_id}
        known = {"recovered": True, "count": count, "cursor": self._cursor(place)}
        line.send("replay_complete", **ids, **known)
        line.is_detached = False
        for message in list(self.log):
            if message.offset > place[message.partition]:
                self._deliver(line, message)

    def _deliver(self, line: Line, message: Logged) -> None:
        if any(held.wants(message) for held in self._held.values()):
            line.send("message", **message.frame())

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.01, 0.05)))

    def _listed(self, held: Held) -> Frame:
        return {
            "subscriptionId": held.id,
            "topic": held.topic,
            "options": held.options,
            "createdAt": NOW,
        }

    def _cursor(self, offsets: list[int]) -> Frame:
        named = {str(partition): offset for partition, offset in enumerate(offsets)}
        return {"epoch": EPOCH, "offsets": named}

    def _offsets(self, cursor: Frame) -> list[int]:
        assert cursor["epoch"] == EPOCH
        offsets = [cursor["offsets"].get(str(partition), 0) for partition in range(PARTITIONS)]
        assert all(one <= head for one, head in zip(offsets, self.heads, strict=True))
        return offsets
