"""The promises of this stage, on real servers: complete, in order, across servers and crashes."""

import asyncio
import sqlite3
import threading
import time
from collections import defaultdict

import psycopg
import pytest

from tests.delivery.publishers import assert_gapless, collect, publish_many
from tests.deployment import Deployment
from tests.socket_client import session

pytestmark = pytest.mark.server

TOPICS = [f"shop.{number % 7}.t{number}" for number in range(20)]


def make_key(deployment: Deployment) -> str:
    return deployment.key


@pytest.mark.postgres
@pytest.mark.redis
async def test_two_servers_5000_messages_8_publishers(cluster: Deployment) -> None:
    """Published at either, received at either: each topic's seq without hole or repeat."""
    key = make_key(cluster)
    servers = [cluster.start(), cluster.start()]
    async with (
        session(servers[0].socket_url, key, "all, on the first") as first,
        session(servers[1].socket_url, key, "all, on the second") as second,
        session(servers[1].socket_url, key, "one shop") as third,
    ):
        await first.subscribe("shop.**")
        await second.subscribe("shop.*.*")
        await third.subscribe("shop.3.*")
        publishing = asyncio.create_task(
            asyncio.to_thread(publish_many, servers, key, TOPICS, count=5000, publishers=8)
        )
        everything = asyncio.gather(
            collect(first, 5000, 120), collect(second, 5000, 120), collect(third, 750, 120)
        )
        acknowledged = await publishing
        received = await everything
        assert len(acknowledged.ids) == 5000
        assert_gapless(received[0], acknowledged.ids)
        assert_gapless(received[1], acknowledged.ids)
        of_shop_3 = {p: i for p, i in acknowledged.ids.items() if p[0].startswith("shop.3.")}
        assert_gapless(received[2], of_shop_3)


OTHERS_CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def test_every_acknowledged_message_survives_kill_9(deployment: Deployment) -> None:
    """kill -9 during publishing; then the log itself is asked, without our code."""
    key = make_key(deployment)
    server = deployment.start()

    def kill_when_some_are_stored() -> None:
        while deployment.query("SELECT count(*) FROM notifications_message")[0][0] < 200:
            time.sleep(0.05)
        server.kill()

    killer = threading.Thread(target=kill_when_some_are_stored, daemon=True)
    killer.start()
    acknowledged = await asyncio.to_thread(
        publish_many, [server], key, TOPICS, count=100_000, publishers=8, stop_on_error=True
    )
    assert acknowledged.failed == 8, "the kill came during publishing"
    assert len(acknowledged.ids) > 20, "enough was published before it"
    if deployment.backend == "postgres":
        # A statement that the server had sent goes on, and commits, after the server has died.
        async with asyncio.timeout(30):
            while deployment.query(OTHERS_CONNECTED) != [(0,)]:
                await asyncio.sleep(0.05)
    rows = deployment.query(
        "SELECT t.name, m.seq, m.partition_id, m.offset, CAST(m.id AS VARCHAR(36)) "
        "FROM notifications_message m JOIN notifications_topic t ON t.id = m.topic_id"
        if deployment.backend == "postgres"
        else "SELECT t.name, m.seq, m.partition_id, m.offset, m.id "
        "FROM notifications_message m JOIN notifications_topic t ON t.id = m.topic_id"
    )
    in_log = {(name, seq): pk.replace("-", "") for name, seq, _, _, pk in rows}
    for place, message_id in acknowledged.ids.items():
        assert in_log.get(place) == message_id.replace("-", ""), f"{place} was acknowledged"
    offsets, seqs = defaultdict(list), defaultdict(list)
    for name, seq, partition, offset, _ in rows:
        offsets[partition].append(offset)
        seqs[name].append(seq)
    for numbers in (*offsets.values(), *seqs.values()):
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    heads = dict(deployment.query("SELECT id, head FROM notifications_partition"))
    assert {p: head for p, head in heads.items() if head} == {
        p: len(numbers) for p, numbers in offsets.items()
    }


async def test_lost_hints_are_repaired_from_the_log(deployment: Deployment) -> None:
    """Every 50th hint is lost; everything arrives all the same, in order."""
    key = make_key(deployment)
    server = deployment.start(DJANGO_SETTINGS_MODULE="tests.settings_lossy", LOSE_EVERY="50")
    async with session(server.socket_url, key) as client:
        await client.subscribe("shop.**")
        receiving = asyncio.create_task(collect(client, 600, 60))
        acknowledged = await asyncio.to_thread(
            publish_many, [server], key, TOPICS, count=600, publishers=2
        )
        assert_gapless(await receiving, acknowledged.ids)
    figures = server.request("GET", "/metrics").body
    filled = next(
        float(line.split()[1])
        for line in figures.splitlines()
        if line.startswith("bellwether_holes_filled_total")
    )
    assert filled > 0, "the layer lost something, and the log brought it"


async def test_a_lost_last_hint_is_found_without_new_traffic(deployment: Deployment) -> None:
    """Every hint is lost, so nothing follows that could show the hole."""
    key = make_key(deployment)
    server = deployment.start(DJANGO_SETTINGS_MODULE="tests.settings_lossy", LOSE_EVERY="1")
    async with session(server.socket_url, key) as client:
        await client.subscribe("shop.1.a")
        published = await asyncio.to_thread(server.publish, key, "shop.1.a", "the only one")
        assert published.status == 201
        message = await client.message()
        assert message["payload"] == "the only one"


async def test_a_command_in_another_process_is_heard(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    async with session(server.socket_url, key) as client:
        await client.subscribe("shop.1.*")
        await asyncio.to_thread(deployment.manage, "publish", "shop.1.a", '{"from": "a command"}')
        assert (await client.message())["payload"] == {"from": "a command"}


def states(deployment: Deployment, client_id: str) -> list[tuple[str, str]]:
    return deployment.query(
        f"SELECT state, reason FROM notifications_session WHERE client_id = '{client_id}' "
        "ORDER BY created_at DESC LIMIT 1"
    )


async def until_state(deployment: Deployment, client_id: str, wanted: tuple[str, str]) -> None:
    deadline = time.monotonic() + 60
    while (now := states(deployment, client_id)) != [wanted]:
        assert time.monotonic() < deadline, f"{client_id} is {now}, not {wanted}"
        await asyncio.sleep(0.1)


async def test_connection_states_are_kept_true(deployment: Deployment) -> None:
    """Through each way in which a connection can end, a crash of the server included."""
    key = make_key(deployment)
    server = deployment.start()
    async with session(server.socket_url, key, "polite"):
        await until_state(deployment, "polite", ("connected", ""))
    await until_state(deployment, "polite", ("disconnected", "client_initiated"))

    async with session(server.socket_url, key, "rude") as rude:
        await until_state(deployment, "rude", ("connected", ""))
        rude.connection.transport.abort()
        await until_state(deployment, "rude", ("reconnecting", "network_error"))

    async with session(server.socket_url, key, "older"), session(server.socket_url, key, "older"):
        await until_state(deployment, "older", ("connected", ""))

    async with session(server.socket_url, key, "crashed"):
        await until_state(deployment, "crashed", ("connected", ""))
        server.kill()
        deployment.start()
        await until_state(deployment, "crashed", ("reconnecting", "server_lost"))


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_client_is_taken_over_across_servers(cluster: Deployment) -> None:
    key = make_key(cluster)
    first, second = cluster.start(), cluster.start()
    async with session(first.socket_url, key, "one tab") as older:
        async with session(second.socket_url, key, "one tab"):
            code, frames = await older.closed()
            assert (code, frames[-1]["type"]) == (4504, "disconnect")
            await until_state(cluster, "one tab", ("connected", ""))


@pytest.mark.postgres
@pytest.mark.redis
async def test_a_session_that_ended_unheard_is_closed_all_the_same(cluster: Deployment) -> None:
    """The bus lost the word; the server looks."""
    key = make_key(cluster)
    server = cluster.start()
    async with session(server.socket_url, key, "ended") as client:
        await until_state(cluster, "ended", ("connected", ""))
        with psycopg.connect(cluster.env["DATABASE_URL"]) as database:
            database.execute(
                "UPDATE notifications_session SET ended_at = now(), state = 'disconnected', "
                "reason = 'server_initiated'"
            )
        code, frames = await client.closed()
        assert (code, frames[-1]["code"]) == (4503, 4503)


async def test_revoked_credentials_close_their_sockets(deployment: Deployment) -> None:
    """A key by an operator's command, a login by its owner; nobody else is touched."""
    kept = make_key(deployment)
    doomed = deployment.manage("create_api_key", "doomed", "--grant-subscribe=**").strip()
    deployment.manage("create_user", "ada", "--password=correct horse")
    server = deployment.start()
    login = {"username": "ada", "password": "correct horse"}
    tokens = (await asyncio.to_thread(server.request, "POST", "/api/v1/auth/token", login)).body
    async with (
        session(server.socket_url, kept, "kept") as stays,
        session(server.socket_url, doomed, "by key") as by_key,
        session(server.socket_url, tokens["access"], "by token") as by_token,
    ):
        revoked = await asyncio.to_thread(
            server.request, "POST", "/api/v1/auth/revoke", {"refresh": tokens["refresh"]}
        )
        assert revoked.status == 204
        assert (await by_token.closed())[0] == 4503
        await asyncio.to_thread(
            deployment.manage,
            "shell",
            "-c",
            "from accounts.models import ApiKey; from accounts.services import revoke_api_key; "
            "revoke_api_key(ApiKey.objects.get(name='doomed'))",
        )
        code, frames = await by_key.closed()
        assert (code, frames[-1]["type"], frames[-1]["reconnect"]) == (4503, "disconnect", False)
        await until_state(deployment, "by key", ("disconnected", "server_initiated"))
        assert (await stays.request("verify", subscriptionIds=[]))["type"] == "verified"


async def test_a_subscription_that_exists_but_is_not_in_force_comes_into_force(
    embedded: Deployment,
) -> None:
    """An earlier subscribe was given up and took effect all the same; the retry mends it."""
    key = make_key(embedded)
    server = embedded.start()
    async with session(server.socket_url, key) as client:
        held = await client.subscribe("shop.1.other")
        with sqlite3.connect(embedded.env["DATABASE_URL"].removeprefix("sqlite:///")) as database:
            database.execute("UPDATE notifications_subscription SET pattern = 'shop.1.a'")
        refused = await client.request("subscribe", topic="shop.1.a")
        assert refused["code"] == "ALREADY_SUBSCRIBED"
        assert refused["data"]["subscriptionId"] == held["subscriptionId"]
        await client.request("publish", topic="shop.1.a", payload="heard")
        assert (await client.message())["payload"] == "heard"


async def test_a_connection_ends_soon_after_its_token(embedded: Deployment) -> None:
    embedded.env["NOTIFICATIONS_ACCESS_TOKEN_SECONDS"] = "2"
    embedded.manage("create_user", "ada", "--password=correct horse")
    server = embedded.start()
    answer = await asyncio.to_thread(
        server.request,
        "POST",
        "/api/v1/auth/token",
        {"username": "ada", "password": "correct horse"},
    )
    async with session(server.socket_url, answer.body["access"]) as client:
        warning = await client.receive()
        assert warning["type"] == "token_expiring"
        assert warning["expiresIn"] <= 2000
        code, frames = await client.closed(timeout=60)
        assert (code, frames[-1]["code"], frames[-1]["reconnect"]) == (4401, 4401, True)


async def test_a_stopping_server_says_so_in_its_sessions(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start()
    async with session(server.socket_url, key, "served"):
        await until_state(deployment, "served", ("connected", ""))
        assert await asyncio.to_thread(server.stop) == 0
        await until_state(deployment, "served", ("reconnecting", "server_stopped"))
