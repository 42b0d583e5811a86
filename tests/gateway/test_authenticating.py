"""Many clients authenticate at once, over real sockets: the batches show in nothing but speed."""

import asyncio
import json
from collections import Counter

import pytest

from tests.deployment import Deployment, Server
from tests.socket_client import SocketClient, connect

pytestmark = pytest.mark.server

WAIT = 90.0
CROWD = 40


def make_key(deployment: Deployment) -> str:
    return deployment.key


def figure(server: Server, name: str) -> float:
    lines = server.request("GET", "/metrics").body.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def until_rows(deployment: Deployment, sql: str, *expected: tuple[object, ...]) -> None:
    async with asyncio.timeout(WAIT):
        while await asyncio.to_thread(deployment.query, sql) != list(expected):
            await asyncio.sleep(0.1)


async def test_what_is_sent_behind_the_auth_is_answered_after_it(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start(NOTIFICATIONS_RATE_LIMITS="off")

    async def come(number: int) -> list[str]:
        async with connect(server.socket_url) as client:
            await client.send({"type": "auth", "token": key, "clientId": f"c{number}"})
            await client.send({"type": "subscribe", "id": 1, "topic": f"a.{number}"})
            await client.send({"type": "publish", "id": 2, "topic": f"a.{number}", "payload": 1})
            frames = [(await client.receive())["type"] for _ in range(4)]
            # The publisher's own copy and the answer come in either order.
            return frames[:2] + sorted(frames[2:])

    async with asyncio.timeout(WAIT):
        heard = await asyncio.gather(*(come(number) for number in range(CROWD)))
    assert heard == [["auth_success", "subscribed", "message", "published"]] * CROWD


async def test_a_bad_token_among_good_ones_is_refused_alone(embedded: Deployment) -> None:
    key = make_key(embedded)
    server = embedded.start(NOTIFICATIONS_RATE_LIMITS="off")

    async def come(number: int) -> tuple[str, int | None]:
        async with connect(server.socket_url) as client:
            token = key if number % 4 else f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}"
            answer = await client.authenticate(token, f"c{number}")
            code = (await client.closed())[0] if answer["type"] == "error" else None
            return answer["type"], code

    async with asyncio.timeout(WAIT):
        heard = Counter(await asyncio.gather(*(come(number) for number in range(CROWD))))
    assert heard == {("auth_success", None): CROWD * 3 // 4, ("error", 4501): CROWD // 4}


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.postgres
@pytest.mark.redis
async def test_of_many_sockets_of_one_client_at_once_one_remains(
    cluster: Deployment, servers: int
) -> None:
    key = make_key(cluster)
    urls = [cluster.start(NOTIFICATIONS_RATE_LIMITS="off").socket_url for _ in range(servers)]
    crowd = 10

    async def come(number: int) -> int:
        """Return the close code, or 0 when the socket is still there after the others went."""
        async with connect(urls[number % servers]) as client:
            # One that was taken over already may hear of nothing else.
            await client.send({"type": "auth", "token": key, "clientId": "one"})
            closing = asyncio.create_task(client.closed(WAIT))
            waiting = asyncio.create_task(all_left.wait())
            done, _ = await asyncio.wait([closing, waiting], return_when=asyncio.FIRST_COMPLETED)
            if closing not in done:
                closing.cancel()
                return 0
            codes.append(closing.result()[0])
            if len(codes) == crowd - 1:
                all_left.set()
            waiting.cancel()
            return codes[-1]

    codes: list[int] = []
    all_left = asyncio.Event()
    async with asyncio.timeout(WAIT):
        heard = Counter(await asyncio.gather(*(come(number) for number in range(crowd))))
    assert heard == {4504: crowd - 1, 0: 1}
    (row,) = cluster.query(
        "SELECT count(*), max(connects), count(DISTINCT secret_digest) FROM notifications_session"
    )
    assert row == (crowd, crowd, crowd)
    await until_rows(
        cluster,
        "SELECT connects, state FROM notifications_session WHERE ended_at IS NULL",
        (crowd, "disconnected"),
    )


async def test_who_leaves_while_its_session_is_opened_is_not_taken_for_connected(
    deployment: Deployment,
) -> None:
    key = make_key(deployment)
    server = deployment.start(NOTIFICATIONS_RATE_LIMITS="off")

    async def come(number: int) -> None:
        async with connect(server.socket_url) as client:
            auth = {"type": "auth", "token": key, "clientId": f"c{number}"}
            await client.connection.send(json.dumps(auth))
            client.connection.transport.abort()

    await asyncio.gather(*(come(number) for number in range(CROWD)))
    await until_rows(
        deployment,
        "SELECT state, count(*) FROM notifications_session GROUP BY state",
        ("reconnecting", CROWD),
    )
    assert figure(server, "bellwether_connections") == 0
    assert figure(server, "bellwether_openings_waiting") == 0


async def test_all_come_back_to_what_they_had(deployment: Deployment) -> None:
    key = make_key(deployment)
    server = deployment.start(NOTIFICATIONS_RATE_LIMITS="off")

    async def begin(number: int) -> str:
        async with connect(server.socket_url) as client:
            success = await client.authenticate(key, f"c{number}")
            await client.subscribe(f"a.{number}")
            return str(success["sessionId"])

    async def resume(number: int, secret: str) -> SocketClient:
        async with connect(server.socket_url) as client:
            resume = {"sessionId": secret, "cursor": None}
            success = await client.authenticate(key, f"c{number}", resume=resume)
            assert (success["sessionId"], success["resumed"]) == (secret, True)
            assert [held["topic"] for held in success["subscriptions"]] == [f"a.{number}"]
            return client

    async with asyncio.timeout(WAIT):
        secrets = await asyncio.gather(*(begin(number) for number in range(CROWD)))
        await asyncio.gather(*(resume(number, one) for number, one in enumerate(secrets)))
    await until_rows(
        deployment,
        "SELECT connects, state, count(*) FROM notifications_session GROUP BY 1, 2",
        (2, "disconnected", CROWD),
    )
