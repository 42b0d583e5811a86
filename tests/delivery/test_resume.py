"""Resuming on real servers: whole, in order, once; or a truthful reason why not."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.delivery.test_delivery import make_key, until_state
from tests.deployment import Deployment, Server
from tests.socket_client import SocketClient, connect

pytestmark = pytest.mark.server

Frame = dict[str, Any]


@asynccontextmanager
async def resumed(
    server: Server, key: str, session_id: Any, cursor: Any, client_id: str = "test"
) -> AsyncIterator[tuple[SocketClient, Frame]]:
    """Open a socket that wants a session back; yield it with its auth_success."""
    async with connect(server.socket_url) as client:
        resume = {"sessionId": session_id, "cursor": cursor}
        yield client, await client.authenticate(key, client_id, resume=resume)


async def replayed(client: SocketClient) -> tuple[list[Frame], Frame]:
    """Receive a replay: its messages, and its end."""
    messages: list[Frame] = []
    while (frame := await client.receive())["type"] == "message":
        messages.append(frame)
    assert frame["type"] == "replay_complete", frame
    return messages, frame


async def begin(server: Server, key: str, *topics: str, client_id: str = "test") -> Frame:
    """Subscribe as a client that then goes away; return its auth_success."""
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key, client_id)
        for topic in topics:
            await client.subscribe(topic)
        return success


def publish(server: Server, key: str, topic: str, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        assert server.publish(key, topic, number).status == 201


async def test_who_was_away_gets_what_it_missed_then_live(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    success = await begin(server, key, "user.1.*", "other.1.news")
    await asyncio.to_thread(publish, server, key, "user.1.orders", 3)
    await asyncio.to_thread(publish, server, key, "user.1.made-while-away", 2)
    await asyncio.to_thread(publish, server, key, "user.2.orders", 2)
    await asyncio.to_thread(publish, server, key, "other.1.news", 1)
    async with resumed(server, key, success["sessionId"], success["cursor"]) as (client, answer):
        assert answer["resumed"] is True
        assert answer["sessionId"] == success["sessionId"]
        assert answer["cursor"] == success["cursor"]
        assert sorted(row["topic"] for row in answer["subscriptions"]) == [
            "other.1.news",
            "user.1.*",
        ]
        messages, complete = await replayed(client)
        assert complete["recovered"] is True
        assert complete["count"] == len(messages) == 6
        assert all(message["replayed"] is True for message in messages)
        positions = [message["position"] for message in messages]
        assert positions == sorted(positions), "in partition order, and in order within each"
        mine = [m["payload"] for m in messages if m["topic"] == "user.1.orders"]
        assert mine == [0, 1, 2]
        await asyncio.to_thread(publish, server, key, "user.1.orders", 2, 3)
        live = await client.messages(2)
        assert [message["payload"] for message in live] == [3, 4]
        assert not any("replayed" in message for message in live)
    # Nothing was missed since, so there is nothing to replay.
    async with resumed(server, key, success["sessionId"], complete["cursor"]) as (client, _):
        messages, again = await replayed(client)
        assert [message["payload"] for message in messages] == [3, 4]
        assert again["recovered"] is True


@pytest.fixture(scope="module")
def shared(
    templates: dict[str, Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment with a server, for tests whose clients and topics are their own."""
    folder = tmp_path_factory.mktemp("shared")
    template = Deployment.template("sqlite", templates, folder)
    deployment = Deployment.create("sqlite", folder, template)
    deployment.start()
    yield deployment
    deployment.close()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        (None, "BAD_CURSOR"),
        ("garbage", "BAD_CURSOR"),
        ({"offsets": {}}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": []}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": {"0": "1"}}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": {"00": 1}}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": {"16": 0}}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": {"3": 1_000_000}}, "BAD_CURSOR"),
        ({"epoch": "…", "offsets": {"3": -1}}, "BAD_CURSOR"),
        ({"epoch": "another life", "offsets": {"0": 5}}, "EPOCH_CHANGED"),
        ({"epoch": "…", "offsets": {}}, None),
    ],
)
async def test_cursors_are_not_believed(
    shared: Deployment, request: pytest.FixtureRequest, cursor: Any, reason: str | None
) -> None:
    key, (server,) = make_key(shared), shared.servers
    name = request.node.name
    topic = f"user.{zlib.crc32(name.encode())}.orders"
    success = await begin(server, key, topic, client_id=name)
    await asyncio.to_thread(publish, server, key, topic, 2)
    if isinstance(cursor, dict) and cursor.get("epoch") == "…":
        cursor = {**cursor, "epoch": success["cursor"]["epoch"]}
    session = success["sessionId"]
    async with resumed(server, key, session, cursor, client_id=name) as (client, answer):
        assert (answer["type"], answer["resumed"]) == ("auth_success", True)
        messages, complete = await replayed(client)
        assert complete.get("reason") == reason
        assert complete["recovered"] is (reason is None)
        assert len(messages) == complete["count"] == (0 if reason else 2)
        if reason:
            assert answer["cursor"] == complete["cursor"], "the head, so live goes on from there"
        await asyncio.to_thread(publish, server, key, topic, 1, 2)
        assert (await client.message())["payload"] == 2


async def test_an_unknown_session_resumes_nothing(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    success = await begin(server, key, "user.1.*")
    async with resumed(server, key, "no such session", success["cursor"]) as (client, answer):
        assert answer["resumed"] is False
        assert answer["sessionId"] != success["sessionId"]
        assert [row["topic"] for row in answer["subscriptions"]] == ["user.1.*"]
        await asyncio.to_thread(publish, server, key, "user.1.orders", 1)
        assert "replayed" not in await client.message()
        # It may ask for what it missed.
        reply = await client.request("replay", cursor={**success["cursor"], "offsets": {}})
        assert (reply["type"], reply["recovered"], reply["count"]) == ("replay_complete", True, 1)
        assert (await client.message())["replayed"] is True
    # The old session was ended by the new one.
    async with resumed(server, key, success["sessionId"], success["cursor"]) as (_, answer):
        assert answer["resumed"] is False


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_session_open_elsewhere_is_taken_over(cluster: Deployment) -> None:
    key = make_key(cluster)
    servers = [cluster.start(), cluster.start()]
    async with connect(servers[0].socket_url) as first:
        success = await first.authenticate(key)
        await first.subscribe("user.1.*")
        await asyncio.to_thread(publish, servers[0], key, "user.1.orders", 3)
        await first.messages(3)
        async with resumed(servers[1], key, success["sessionId"], success["cursor"]) as (
            second,
            answer,
        ):
            assert answer["resumed"] is True
            messages, complete = await replayed(second)
            assert [message["payload"] for message in messages] == [0, 1, 2]
            code, frames = await first.closed()
            assert code == 4504
            assert frames[-1]["type"] == "disconnect"
            await asyncio.to_thread(publish, servers[0], key, "user.1.orders", 1, 3)
            assert (await second.message())["payload"] == 3
            await until_state(cluster, "test", ("connected", ""))
            assert cluster.query("SELECT connects FROM notifications_session") == [(2,)]
            # The same on one server: the older socket goes, the newer one resumes.
            async with resumed(servers[1], key, success["sessionId"], complete["cursor"]) as (
                third,
                again,
            ):
                assert again["resumed"] is True
                messages, _ = await replayed(third)
                assert [message["payload"] for message in messages] == [3]
                assert (await second.closed())[0] == 4504


async def test_since_and_last(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    await asyncio.to_thread(publish, server, key, "user.1.orders", 5)
    await asyncio.to_thread(publish, server, key, "user.2.orders", 5, 5)
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key)
        zero = {"epoch": success["cursor"]["epoch"], "offsets": {}}
        for topic, since, expected in (
            ("user.1.orders", {"last": 2}, [3, 4]),
            ("user.1.*", zero, [0, 1, 2, 3, 4]),
            ("user.2.orders", {"last": 1000}, [5, 6, 7, 8, 9]),
            ("user.*.orders", {"last": 7}, [3, 4, 5, 6, 7, 8, 9]),
            ("user.3.orders", {"last": 7}, []),
        ):
            await client.subscribe(topic, options={"since": since})
            messages, complete = await replayed(client)
            assert sorted(m["payload"] for m in messages) == expected
            assert all(m["replayed"] for m in messages)
            assert (complete["recovered"], complete["count"]) == (True, len(expected))
            assert complete["id"] == client._ids
        reply = await client.request("subscribe", topic="a.b", options={"since": 5})
        assert reply["code"] == "BAD_CURSOR"
        await client.subscribe("b.c", options={"since": {"epoch": "other", "offsets": {}}})
        assert (await replayed(client))[1]["reason"] == "EPOCH_CHANGED"


async def test_acknowledgements_with_bad_cursors_are_refused(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key)
        await client.send({"type": "ack", "cursor": success["cursor"]})
        for cursor in (None, 5, {"epoch": "other", "offsets": {}}):
            await client.send({"type": "ack", "cursor": cursor})
            error = await client.receive()
            assert (error["type"], error["code"]) == ("error", "BAD_CURSOR")
            assert "id" not in error


async def test_more_than_the_cap_is_not_replayed(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_REPLAY_MAX_MESSAGES="5")
    success = await begin(server, key, "user.1.*")
    await asyncio.to_thread(publish, server, key, "user.1.orders", 6)
    async with resumed(server, key, success["sessionId"], success["cursor"]) as (client, _):
        messages, complete = await replayed(client)
        assert (messages, complete["reason"]) == ([], "TOO_MANY")
        # Five are within it.
        position = {k: 1 if v == 0 else v for k, v in complete["cursor"]["offsets"].items()}
        offsets = {k: min(v, 1) for k, v in position.items() if complete["cursor"]["offsets"][k]}
    cursor = {**success["cursor"], "offsets": offsets}
    async with resumed(server, key, success["sessionId"], cursor) as (client, _):
        messages, complete = await replayed(client)
        assert (len(messages), complete["recovered"]) == (5, True)


async def test_a_new_epoch_is_told_to_live_connections(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start()
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key)
        await client.subscribe("user.1.*")
        await asyncio.to_thread(publish, server, key, "user.1.orders", 1)
        await client.message()
        embedded.execute("UPDATE notifications_log SET epoch = 'xnew'")
        gap = await client.receive_until(lambda frame: frame["type"] == "gap")
        assert (gap["reason"], gap["cursor"]["epoch"]) == ("EPOCH_CHANGED", "xnew")
        await asyncio.to_thread(publish, server, key, "user.1.orders", 1, 1)
        assert (await client.message())["payload"] == 1
    async with resumed(server, key, success["sessionId"], success["cursor"]) as (client, _):
        assert (await replayed(client))[1]["reason"] == "EPOCH_CHANGED"
    async with resumed(server, key, success["sessionId"], gap["cursor"]) as (client, _):
        messages, complete = await replayed(client)
        assert [message["payload"] for message in messages] == [1]
        assert complete["recovered"] is True
