"""Windows, arrays and what gives way, over real sockets, with clients that are not ours."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from tests.deployment import Deployment, Server
from tests.gateway.servers import EACH_SERVER_AND_CODEC, SERVERS
from tests.socket_client import SocketClient, connect, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

LONG = {"maxSize": 100, "maxDelay": 10_000}
"""A window that no test waits for the end of."""

POLICIES = (
    ("policy", "slow.*", "--batch-size", "3", "--batch-delay", "10000"),
    ("policy", "quick.*", "--batch-delay", "50"),
    ("policy", "latest.*", "--ephemeral", "--overflow", "conflate"),
)

House = tuple[Server, str, str]


@pytest.fixture(scope="module", params=EACH_SERVER_AND_CODEC, ids="-".join)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """A server, a key that may do all, and a codec."""
    directory = tmp_path_factory.mktemp("batches")
    template = Deployment.template("sqlite", templates, directory, *POLICIES)
    deployment = Deployment.create("sqlite", directory, template)
    kind, codec = request.param
    server = deployment.start(*SERVERS[kind])
    yield server, deployment.key, codec
    deployment.close()
    assert "Traceback" not in server.log.read_text()


class Messages:
    """A client that sees WebSocket messages as they are: a frame, or an array of them."""

    def __init__(self, client: SocketClient) -> None:
        self.client = client

    async def next(self) -> Any:
        async with asyncio.timeout(20):
            data = await self.client.connection.recv()
        return msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)

    async def payloads(self) -> Any:
        """Return the payload of the next message, or the list of those of an array."""
        frame = await self.next()
        if isinstance(frame, list):
            return [one["payload"] for one in frame]
        return frame["payload"]


@asynccontextmanager
async def listening(
    house: House, topic: str, *, arrays: bool = True, options: Any = None, **auth: Any
) -> AsyncIterator[Messages]:
    server, key, codec = house
    async with connect(server.socket_url, codec) as client:
        capabilities = ["batch", "presence"] if arrays else []
        answer = await client.authenticate(key, "listens", capabilities=capabilities, **auth)
        assert answer["capabilities"] == (["batch"] if arrays else [])
        reply = await client.request("subscribe", topic=topic, options=options)
        if reply["type"] == "error":  # the client held it from an earlier test
            await client.request("unsubscribe", subscriptionId=reply["data"]["subscriptionId"])
            await client.subscribe(topic, options=options)
        yield Messages(client)


async def publish(house: House, topic: str, *payloads: Any, **metadata: Any) -> None:
    server, key, codec = house
    async with session(server.socket_url, key, "publishes", codec) as client:
        for payload in payloads:
            fields = {"topic": topic, "payload": payload}
            if metadata:
                fields["metadata"] = metadata
            answer = await client.request("publish", **fields)
            assert answer["type"] == "published", answer


async def test_a_policy_gathers_and_who_takes_arrays_gets_one(house: House) -> None:
    async with listening(house, "slow.a") as client:
        await publish(house, "slow.a", 1, 2, 3)
        assert await client.payloads() == [1, 2, 3]


async def test_who_takes_no_arrays_gets_the_same_one_by_one(house: House) -> None:
    async with listening(house, "slow.b", arrays=False) as client:
        await publish(house, "slow.b", 1, 2, 3)
        assert [await client.payloads() for _ in range(3)] == [1, 2, 3]


async def test_a_window_ends_by_itself(house: House) -> None:
    async with listening(house, "quick.a") as client:
        await publish(house, "quick.a", 1)
        assert await client.payloads() == 1


async def test_a_client_and_a_subscription_gather_as_they_say(house: House) -> None:
    both: dict[str, Any] = {"batch": {"maxSize": 2, "maxDelay": 10_000}}
    async with listening(house, "own.a", options=both, batch=LONG) as client:
        await publish(house, "own.a", 1, 2, 3, 4)
        assert [await client.payloads(), await client.payloads()] == [[1, 2], [3, 4]]
    async with listening(house, "own.b", batch={"maxSize": 4, "maxDelay": 10_000}) as client:
        await publish(house, "own.b", 1, 2, 3, 4)
        assert await client.payloads() == [1, 2, 3, 4]
    # A subscription that does not want to wait does not, whatever its client and the policy say.
    async with listening(house, "slow.c", options={"batch": {"maxSize": 1}}, batch=LONG) as client:
        await publish(house, "slow.c", 1)
        # What says nothing of its own is left to the client, and this one waits.
        await publish(house, "slow.c", 2, priority="urgent")
        assert await flattened(client, 2) == [1, 2]


async def flattened(client: Messages, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        payloads = await client.payloads()
        found += payloads if isinstance(payloads, list) else [payloads]
    return found


@pytest.mark.parametrize("priority", ["high", "urgent"])
async def test_what_is_urgent_takes_along_what_waits_in_order(house: House, priority: str) -> None:
    async with listening(house, f"own.{priority}", batch=LONG) as client:
        await publish(house, f"own.{priority}", 1, 2)
        await publish(house, f"own.{priority}", 3, priority=priority)
        assert await client.payloads() == [1, 2, 3]


async def test_answers_take_along_what_waits_in_order(house: House) -> None:
    server, key, codec = house
    async with (
        listening(house, "own.pong", batch=LONG) as client,
        session(server.socket_url, key, "sees at once", codec) as other,
    ):
        await other.request("subscribe", topic="own.pong")
        await publish(house, "own.pong", 1, 2)
        await other.messages(2)  # so the server has delivered them
        await client.client.send({"type": "ping", "t": 7})
        frames = await client.next()
        assert [frame["type"] for frame in frames] == ["message", "message", "pong"]


async def test_who_reads_slowly_is_told_how_many_ephemeral_messages_gave_way(house: House) -> None:
    server, key, codec = house
    if "runserver" in server.command:
        pytest.skip("Daphne takes whatever is sent, and keeps for itself what a peer does not read")
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", server.port))
    async with connect(server.socket_url, codec, sock=peer, max_queue=1) as slow:
        await slow.authenticate(key, "slow")
        await slow.subscribe("latest.*")
        big = "x" * 40_000
        async with session(server.socket_url, key, "publishes", codec) as publishes:
            for number in range(200):
                topic = f"latest.{number % 2}"
                await publishes.request("publish", topic=topic, payload=[number, big])
        received: list[int] = []
        gap = None
        while gap is None or received[-2:] != [198, 199]:
            frame = await slow.receive(timeout=20)
            if frame["type"] == "gap":
                assert gap is None
                gap = frame
            else:
                received.append(frame["payload"][0])
        assert received == sorted(received)
        assert gap["reason"] == "SLOW_CONSUMER"
        assert gap["count"] == 200 - len(received) > 0
