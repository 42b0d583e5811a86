"""JSON and MessagePack subscribers of a server: the same messages, encoded and framed once each."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgpack
import pytest

from tests.delivery.test_delivery import make_key
from tests.deployment import Deployment, Server
from tests.socket_client import SUBPROTOCOLS, Frame, SocketClient, connect, session

pytestmark = pytest.mark.server

PAYLOADS: list[Any] = [
    {"text": "é\u0000😀", "n": [1, -0.0, 1.5, 2**63, None, True, {}]},
    None,
    "x" * 40_000,
    [[["deep"]]],
]


@asynccontextmanager
async def subscribers(
    server: Server, key: str, pattern: str, **counts: int
) -> AsyncIterator[dict[str, list[SocketClient]]]:
    """Open sockets by codec, each subscribed to a pattern."""
    async with AsyncExitStack() as stack:
        found: dict[str, list[SocketClient]] = {}
        for codec, count in counts.items():
            for number in range(count):
                opening = session(server.socket_url, key, f"{codec}-{number}", codec)
                client = await stack.enter_async_context(opening)
                await client.subscribe(pattern)
                found.setdefault(codec, []).append(client)
        yield found


def counted(server: Server) -> dict[str, dict[str, int]]:
    """Return messages encoded and frames framed so far, by codec."""
    lines = server.request("GET", "/metrics").body.splitlines()
    figures = {line.split()[0]: float(line.split()[1]) for line in lines if line[:1] != "#"}
    return {
        codec: {
            what: int(figures[f'bellwether_{what}_total{{codec="{codec}"}}'])
            for what in ("messages_encoded", "frames_framed")
        }
        for codec in SUBPROTOCOLS
    }


async def grown(server: Server, before: dict[str, dict[str, int]]) -> dict[str, list[int]]:
    now = await asyncio.to_thread(counted, server)
    return {codec: [now[codec][what] - before[codec][what] for what in now[codec]] for codec in now}


async def raw(client: SocketClient) -> bytes:
    """Receive the bytes of one WebSocket message."""
    async with asyncio.timeout(10):
        return await client.connection.recv(decode=False)


@pytest.mark.parametrize("counts", [{"json": 12, "msgpack": 9}, {"json": 5}, {"msgpack": 5}])
async def test_once_per_codec_in_use_and_the_same_bytes_for_all(
    embedded: Deployment, counts: dict[str, int]
) -> None:
    key = make_key(embedded)
    server = embedded.start()
    async with subscribers(server, key, "mixed.*", **counts) as found:
        before = await asyncio.to_thread(counted, server)
        for payload in PAYLOADS:
            answer = await asyncio.to_thread(server.publish, key, "mixed.a", payload)
            assert answer.status == 201
        got = {
            codec: [[await raw(client) for _ in PAYLOADS] for client in clients]
            for codec, clients in found.items()
        }
        once = [len(PAYLOADS), len(PAYLOADS)]
        assert await grown(server, before) == {
            codec: once if codec in counts else [0, 0] for codec in SUBPROTOCOLS
        }
    read = {"json": json.loads, "msgpack": msgpack.unpackb}
    for codec, received in got.items():
        assert all(messages == received[0] for messages in received), "byte for byte"
        frames = [read[codec](data) for data in received[0]]
        assert [frame["payload"] for frame in frames] == PAYLOADS
        assert [frame["seq"] for frame in frames] == [1, 2, 3, 4]
        assert frames == [read[next(iter(got))](data) for data in next(iter(got.values()))[0]]


async def test_every_door_reaches_both(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    async with subscribers(server, key, "doors.*", json=2, msgpack=2) as found:
        text, binary = found["json"][0], found["msgpack"][0]
        for payload in PAYLOADS:
            await text.request("publish", topic="doors.a", payload=payload)
            await binary.request("publish", topic="doors.a", payload=payload)
            await asyncio.to_thread(server.publish, key, "doors.a", payload)
        expected = [payload for payload in PAYLOADS for _ in range(3)]
        for client in found["json"] + found["msgpack"]:
            messages = await client.messages(len(expected))
            assert [message["payload"] for message in messages] == expected
            assert [type(one["payload"]) for one in messages] == [type(one) for one in expected]
            assert [message["seq"] for message in messages] == list(range(1, 13))


async def test_one_idempotency_key_in_both_codecs(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    body = {"topic": "once.a", "payload": {"a": 1, "b": [2.0, "é"]}, "idempotencyKey": "k"}
    other_order = {**body, "payload": {"b": [2, "é"], "a": 1.0}}
    async with (
        session(server.socket_url, key, "text", "json") as text,
        session(server.socket_url, key, "binary", "msgpack") as binary,
    ):
        first = await binary.request("publish", **body)
        for retry in (
            await text.request("publish", **other_order),
            await binary.request("publish", **other_order),
        ):
            assert retry == {**first, "id": retry["id"], "duplicate": True}
        answer = await asyncio.to_thread(server.request, "POST", "/api/v1/publish", body, key=key)
        assert (answer.status, answer.body["id"]) == (200, first["messageId"])
        for client in (text, binary):
            conflict = await client.request("publish", **{**body, "payload": {"a": 1}})
            assert conflict["code"] == "CONFLICT"


async def until_complete(client: SocketClient) -> list[Frame]:
    frames: list[Frame] = []
    while not frames or frames[-1]["type"] != "replay_complete":
        frames.append(await client.receive())
    return frames


async def test_a_session_is_resumed_in_either_codec(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    started: dict[str, Frame] = {}
    # Subscribed in one codec, resumed in the other.
    for number, codec in enumerate(("json", "msgpack") * 3):
        async with connect(server.socket_url, codec) as client:
            started[f"c{number}"] = await client.authenticate(key, f"c{number}")
            await client.subscribe("away.*")
    for number in range(30):
        payload = {"n": number, "big": 2**64 - 1}
        assert (await asyncio.to_thread(server.publish, key, "away.a", payload)).status == 201
    before = await asyncio.to_thread(counted, server)
    said: dict[str, list[Frame]] = {}
    for number, codec in enumerate(("msgpack", "json") * 3):
        client_id = f"c{number}"
        resume = {
            "sessionId": started[client_id]["sessionId"],
            "cursor": started[client_id]["cursor"],
        }
        async with connect(server.socket_url, codec) as client:
            answer = await client.authenticate(key, client_id, resume=resume)
            assert answer["resumed"] is True
            assert answer["cursor"] == resume["cursor"], "offsets by decimal text in both"
            said[client_id] = await until_complete(client)
    encoded = await grown(server, before)
    assert {codec: figures[0] for codec, figures in encoded.items()} == {"json": 30, "msgpack": 30}
    for frames in said.values():
        assert frames == said["c0"]
        assert [frame["payload"]["n"] for frame in frames[:-1]] == list(range(30))
        assert all(frame["replayed"] is True for frame in frames[:-1])
        assert (frames[-1]["recovered"], frames[-1]["count"]) == (True, 30)
