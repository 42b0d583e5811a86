"""`refresh` over real sockets, on each server: the connection goes on as what the token proves."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment, Server
from tests.gateway.servers import SERVERS
from tests.socket_client import SocketClient, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

PASSWORD = "correct horse"
USERS = tuple(
    ("create_user", name, f"--password={PASSWORD}", "--grant-subscribe=g.*")
    for name in ("ada", "bob")
)


@pytest.fixture(scope="module", params=SERVERS)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Deployment, Server]]:
    directory = tmp_path_factory.mktemp("refreshing")
    template = Deployment.template("sqlite", templates, directory, *USERS)
    deployment = Deployment.create("sqlite", directory, template)
    server = deployment.start(*SERVERS[request.param], LOG_LEVEL="DEBUG")
    yield deployment, server
    deployment.close()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "eyJ" not in log, "no token is logged"


async def logged_in(server: Server, name: str) -> dict[str, str]:
    body = {"username": name, "password": PASSWORD}
    answer = await asyncio.to_thread(server.request, "POST", "/api/v1/auth/token", body)
    assert answer.status == 200
    tokens: dict[str, str] = answer.body
    return tokens


async def revoke(server: Server, tokens: dict[str, str]) -> None:
    body = {"refresh": tokens["refresh"]}
    answer = await asyncio.to_thread(server.request, "POST", "/api/v1/auth/revoke", body)
    assert answer.status == 204


async def still_there(client: SocketClient) -> bool:
    return bool((await client.request("verify", subscriptionIds=[]))["type"] == "verified")


async def issued(deployment: Deployment, *, seconds_ago: int) -> str:
    """A token of ada's that was issued some time ago, and is good for 900 s."""
    code = (
        "from datetime import *; from accounts.models import User; "
        "from accounts.tokens import issue_access_token; print(issue_access_token("
        "User.objects.get(username='ada'), "
        f"now=datetime.now(UTC) - timedelta(seconds={seconds_ago})).access)"
    )
    printed = await asyncio.to_thread(deployment.manage, "shell", "--no-imports", "-c", code)
    return printed.split()[-1]


async def test_a_fresh_token_moves_the_expiry(house: tuple[Deployment, Server]) -> None:
    deployment, server = house
    soon = await issued(deployment, seconds_ago=850)
    async with session(server.socket_url, soon, "moves") as client:
        assert (await client.receive())["type"] == "token_expiring"
        fresh = (await logged_in(server, "ada"))["access"]
        answer = await client.request("refresh", token=fresh)
        assert answer["type"] == "refreshed"
        assert 800_000 < answer["expiresIn"] <= 900_000
        again = await client.request("refresh", token=soon)
        assert answer["expiresIn"] > again["expiresIn"]
        assert (await client.receive())["type"] == "token_expiring"


async def test_what_proves_nothing_is_refused_and_the_connection_stays(
    house: tuple[Deployment, Server],
) -> None:
    deployment, server = house
    tokens = await logged_in(server, "ada")
    async with session(server.socket_url, tokens["access"], "stays") as client:
        await client.subscribe("g.1")
        expired = await issued(deployment, seconds_ago=1000)
        other = (await logged_in(server, "bob"))["access"]
        for token, code in (
            ("nonsense", "UNAUTHENTICATED"),
            (expired, "TOKEN_EXPIRED"),
            (other, "FORBIDDEN"),
        ):
            answer = await client.request("refresh", token=token)
            assert (answer["type"], answer["code"], answer["temporary"]) == ("error", code, False)
        assert (await client.request("refresh"))["code"] == "BAD_FRAME"
        assert await still_there(client)


async def test_revoking_ends_what_the_newest_token_belongs_to(
    house: tuple[Deployment, Server],
) -> None:
    _, server = house
    first, second = await logged_in(server, "ada"), await logged_in(server, "ada")
    async with (
        session(server.socket_url, first["access"], "moved") as moved,
        session(server.socket_url, first["access"], "stayed") as stayed,
    ):
        answer = await moved.request("refresh", token=second["access"])
        assert answer["type"] == "refreshed"
        await revoke(server, first)
        assert (await stayed.closed())[0] == 4503
        assert await still_there(moved), "the look that closed the other left it alone"
        await revoke(server, second)
        assert (await moved.closed())[0] == 4503


async def test_a_withdrawn_grant_ends_its_subscriptions(house: tuple[Deployment, Server]) -> None:
    deployment, server = house
    tokens = await logged_in(server, "bob")
    async with session(server.socket_url, tokens["access"], "withdrawn") as client:
        held = await client.subscribe("g.1")
        await asyncio.to_thread(deployment.manage, "grant", "bob", "--subscribe", "g.*", "--revoke")
        fresh = (await logged_in(server, "bob"))["access"]
        assert (await client.request("refresh", token=fresh))["type"] == "refreshed"
        ended = await client.receive()
        assert (ended["type"], ended["subscriptionId"], ended["code"]) == (
            "unsubscribed",
            held["subscriptionId"],
            "FORBIDDEN",
        )
        verified = await client.request("verify", subscriptionIds=[held["subscriptionId"]])
        assert verified["active"] == []
        assert (await client.request("subscribe", topic="g.1"))["code"] == "FORBIDDEN"
