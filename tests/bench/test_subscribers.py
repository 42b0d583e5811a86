"""The subscribers' worker against a server that speaks our dialect, in this process."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.load.dialects import Target
from bench.load.frames import Opcode
from bench.load.subscribers import Subscribers
from tests.bench.test_frames import server_frame
from tests.bench.test_tally import STAMP, message

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Small:
    """A server of our dialect: it keeps sessions, and answers what it is asked."""

    def __init__(self) -> None:
        self.port = 0
        self.open: dict[str, asyncio.StreamWriter] = {}
        self.resumed: list[tuple[str, str]] = []
        self.patterns: list[tuple[str, str]] = []
        self.pings: list[str] = []
        self.refuse = False
        self.mute = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = head.split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
            proof = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
            writer.write(f"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {proof}\r\n\r\n".encode())
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = ""
        while True:
            _, length = await reader.readexactly(2)
            length &= 0x7F
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            mask = await reader.readexactly(4)
            body = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(length)))
            read = json.loads(body)
            for frame in read if isinstance(read, list) else [read]:
                if frame["type"] == "auth":
                    client = frame["clientId"]
                    self.open[client] = writer
                for answer in self._answers(client, frame):
                    text = json.dumps(answer, separators=(",", ":")).encode()
                    writer.write(server_frame(Opcode.TEXT, text))

    def _answers(self, client: str, frame: dict[str, Any]) -> list[dict[str, Any]]:
        if frame["type"] == "auth":
            success = {"type": "auth_success", "sessionId": f"s-{client}", "cursor": {}}
            resume = frame.get("resume")
            if resume is None:
                return [{**success, "resumed": False}]
            self.resumed.append((client, resume["sessionId"]))
            complete = {"type": "replay_complete", "recovered": True, "cursor": {}}
            return [{**success, "resumed": True}, complete]
        if frame["type"] == "ping":
            self.pings.append(client)
            return [] if self.mute else [{"type": "pong"}]
        if self.refuse:
            return [{"type": "error", "code": "LIMIT_SUBSCRIPTIONS"}]
        self.patterns.append((client, frame["topic"]))
        return [{"type": "subscribed", "id": frame["id"]}]


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    made = Small()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    for writer in made.open.values():
        writer.close()
    server.close()
    await server.wait_closed()


async def connected(small: Small, count: int) -> tuple[Subscribers, dict[str, Any]]:
    target = Target("ours", small.port, "bench.fanout", "k", "7")
    request = {"target": target._asdict(), "count": count, "at_once": 3, "timeout": 5}
    subscribers = Subscribers()
    answer = await subscribers.connect(request)
    assert (answer["connected"], answer["failed"]) == (count, 0)
    return subscribers, request


async def test_everyone_has_a_name_of_its_own_and_the_topic(small: Small) -> None:
    subscribers, _ = await connected(small, 5)
    assert sorted(small.patterns) == [(f"bench-7-{n}", "bench.fanout") for n in range(5)]
    await subscribers.close({})


async def test_what_arrives_everywhere_once_is_right_and_what_is_missed_is_not(
    small: Small,
) -> None:
    subscribers, _ = await connected(small, 2)
    one, two = small.open.values()
    one.write(message(STAMP) + message(STAMP + 5))
    two.write(message(STAMP) * 2)  # one lost and another doubled
    settled = await subscribers.settle(
        {"messages": 2, "stamp_sum": 2 * STAMP + 5, "timeout": 5},
    )
    assert (settled["expected"], settled["received"], settled["wrong"]) == (4, 4, 1)
    await subscribers.close({})


async def test_those_who_left_come_back_with_their_own_sessions(small: Small) -> None:
    subscribers, request = await connected(small, 5)
    subscribers._all.reverse()  # a server answers in whatever order
    await subscribers.leave({})
    answer = await subscribers.come_back(request)
    assert (answer["connected"], answer["reason"]) == (5, None)
    names = [f"bench-7-{n}" for n in range(5)]
    assert sorted(small.resumed) == [(name, f"s-{name}") for name in names]
    await subscribers.close({})


async def test_heartbeats_go_round_and_their_answers_are_counted(small: Small) -> None:
    subscribers, request = await connected(small, 4)
    beat = {**request, "interval": 0.2, "seconds": 0.5, "timeout": 5}
    answer = await subscribers.idle(beat)
    assert answer["sent"] == answer["answers"] == len(small.pings) == 10
    assert set(small.pings) == set(small.open)
    small.mute = True
    answer = await subscribers.idle({**beat, "timeout": 0.05})
    assert answer["sent"] > answer["answers"] == 0
    await subscribers.close({})


async def test_patterns_are_spread_and_a_later_step_goes_on_with_other_holders(
    small: Small,
) -> None:
    subscribers, request = await connected(small, 4)
    small.patterns.clear()
    step = {**request, "each": 2, "pattern": "bench.*.held-%d.**", "timeout": 5}
    assert await subscribers.subscribe({**step, "first": 0, "total": 3}) == {
        "subscribed": 3,
        "refused": 0,
    }
    await subscribers.subscribe({**step, "first": 4, "total": 4})
    held = [topic for _, topic in small.patterns]
    assert sorted(held) == [f"bench.*.held-{n}.**" for n in (0, 1, 2, 4, 5, 6, 7)]
    per_client = [sum(client == name for client, _ in small.patterns) for name in small.open]
    assert sorted(per_client) == [1, 2, 2, 2]
    small.refuse = True
    assert await subscribers.subscribe({**step, "first": 0, "total": 2}) == {
        "subscribed": 0,
        "refused": 2,
    }
    await subscribers.close({})
