"""What was missed, what is asked for again, and who falls silent: the same on every server."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.deployment import Deployment, Server
from tests.gateway.servers import SERVERS
from tests.socket_client import Frame, SocketClient, connect, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

SILENCE = 3.0
"""Seconds after which a connection is closed: two heartbeats, and their timeout."""


@pytest.fixture(scope="module", params=SERVERS)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Deployment, str]]:
    """A deployment with a server, and which server it is."""
    directory = tmp_path_factory.mktemp("coming-back")
    template = Deployment.template("sqlite", templates, directory)
    deployment = Deployment.create("sqlite", directory, template)
    deployment.start(*SERVERS[request.param], NOTIFICATIONS_RATE_LIMITS="off")
    yield deployment, request.param
    deployment.close()
    assert not any("Traceback" in server.log.read_text() for server in deployment.servers)


@pytest.fixture
def server(house: tuple[Deployment, str]) -> Server:
    return house[0].servers[0]


@pytest.fixture
def key(house: tuple[Deployment, str]) -> str:
    return house[0].key


@pytest.fixture
async def writer(server: Server, key: str) -> AsyncIterator[SocketClient]:
    async with session(server.socket_url, key, "writer") as client:
        yield client


async def publish(writer: SocketClient, topic: str, *payloads: int) -> None:
    for payload in payloads:
        answer = await writer.request("publish", topic=topic, payload=payload)
        assert answer["type"] == "published", answer


async def until_complete(client: SocketClient) -> tuple[list[Frame], Frame]:
    frames = []
    while (frame := await client.receive())["type"] != "replay_complete":
        frames.append(frame)
    return frames, frame


async def test_what_was_missed_comes_before_what_is_new(
    server: Server, key: str, writer: SocketClient
) -> None:
    async with connect(server.socket_url) as client:
        first = await client.authenticate(key, "away")
        await client.subscribe("missed.*")
        await publish(writer, "missed.a", 1)
        assert (await client.message())["payload"] == 1
        await client.send({"type": "ping"})
        cursor = (await client.receive())["cursor"]
    await publish(writer, "missed.a", *range(2, 40))
    async with connect(server.socket_url) as client:
        resume = {"sessionId": first["sessionId"], "cursor": cursor}
        answer = await client.authenticate(key, "away", resume=resume)
        assert (answer["type"], answer["resumed"]) == ("auth_success", True)
        missed, complete = await until_complete(client)
        assert [(frame["payload"], frame["replayed"]) for frame in missed] == [
            (payload, True) for payload in range(2, 40)
        ]
        assert (complete["recovered"], complete["count"]) == (True, 38)
        await publish(writer, "missed.a", 40)
        assert (await client.message())["payload"] == 40


async def test_what_was_seen_comes_once_more_where_it_is_asked_for(
    server: Server, key: str, writer: SocketClient
) -> None:
    async with connect(server.socket_url) as client:
        cursor = (await client.authenticate(key, "again"))["cursor"]
        await client.subscribe("again.*")
        await publish(writer, "again.a", 1, 2, 3)
        assert [frame["payload"] for frame in await client.messages(3)] == [1, 2, 3]
        await client.send({"type": "replay", "id": "r", "cursor": cursor})
        seen, complete = await until_complete(client)
        assert [(frame["payload"], frame["replayed"]) for frame in seen] == [
            (payload, True) for payload in (1, 2, 3)
        ]
        assert (complete["id"], complete["recovered"], complete["count"]) == ("r", True, 3)


# `serve` pings first, and the library answers: tests/gateway/test_uvicorn_protocol.py.
@pytest.mark.parametrize("house", ["uvicorn", "daphne"], indirect=True)
async def test_who_falls_silent_is_closed(house: tuple[Deployment, str], key: str) -> None:
    deployment, kind = house
    server = deployment.start(
        *SERVERS[kind],
        NOTIFICATIONS_HEARTBEAT_INTERVAL_SECONDS="1",
        NOTIFICATIONS_HEARTBEAT_TIMEOUT_SECONDS="1",
    )
    began = asyncio.get_running_loop().time()
    async with connect(server.socket_url) as client:
        assert (await client.authenticate(key, "silent"))["type"] == "auth_success"
        code, frames = await client.closed()
    assert asyncio.get_running_loop().time() - began >= SILENCE
    assert (code, frames[-1]["type"], frames[-1]["reconnect"]) == (4408, "disconnect", True)
