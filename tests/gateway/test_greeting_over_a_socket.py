"""What `auth_success` tells clients about coming back, and what is kept of what they tell."""

import re
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment, Server
from tests.gateway.servers import SERVERS
from tests.socket_client import connect

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

POLICIES = '{"mobile": {"maxRetries": 7, "strategy": "linear"}, "service": {"maxDelay": 60000}}'


@pytest.fixture(scope="module", params=SERVERS)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, str]]:
    directory = tmp_path_factory.mktemp("greeting")
    template = Deployment.template("sqlite", templates, directory)
    deployment = Deployment.create("sqlite", directory, template)
    server = deployment.start(*SERVERS[request.param], NOTIFICATIONS_RETRY_POLICIES=POLICIES)
    yield server, deployment.key
    deployment.close()


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"kind": "mobile"}, {"maxRetries": 7, "strategy": "linear", "maxDelay": 30_000}),
        ({"kind": "service"}, {"maxRetries": 0, "strategy": "adaptive", "maxDelay": 60_000}),
        ({"kind": "browser"}, {"maxRetries": 0, "strategy": "exponential", "maxDelay": 30_000}),
        ({"name": "x"}, {"maxRetries": 0, "strategy": "exponential", "maxDelay": 30_000}),
        (None, {"maxRetries": 0, "strategy": "exponential", "maxDelay": 30_000}),
    ],
)
async def test_each_kind_is_told_its_policy(
    house: tuple[Server, str], client: dict[str, str] | None, expected: dict[str, object]
) -> None:
    server, key = house
    async with connect(server.socket_url) as socket:
        retry = (await socket.authenticate(key, client=client))["retry"]
        assert expected.items() <= retry.items()
        assert (retry["initialDelay"], retry["backoffMultiplier"], retry["jitter"]) == (
            1000,
            2,
            True,
        )
        assert 0 < retry["health"] <= 1


async def test_an_unknown_kind_is_refused(house: tuple[Server, str]) -> None:
    server, key = house
    async with connect(server.socket_url) as socket:
        assert (await socket.authenticate(key, client={"kind": "robot"}))["code"] == "BAD_FRAME"


def counted(server: Server, name: str) -> float:
    body = server.request("GET", "/metrics").body
    found = re.search(rf"^{re.escape(name)} (\S+)$", body, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("said", "label"),
    [("timeout", "timeout"), ("network_error", "network_error"), ("x" * 5_000, "other")],
)
async def test_why_a_connection_ended_is_counted(
    house: tuple[Server, str], said: str, label: str
) -> None:
    server, key = house
    reasons = f'bellwether_reconnects_total{{reason="{label}"}}'
    attempts = 'bellwether_connect_attempts_bucket{le="3.0"}'
    before = counted(server, reasons), counted(server, attempts)
    for attempt in (3, 4):
        async with connect(server.socket_url) as socket:
            answer = await socket.authenticate(key, attempt=attempt, lastDisconnectReason=said)
            assert answer["type"] == "auth_success"
    after = counted(server, reasons), counted(server, attempts)
    assert after == (before[0] + 2, before[1] + 1)
    assert 0 < counted(server, "bellwether_health") <= 1


async def test_a_full_server_tells_that_it_is_not_well(embedded: Deployment) -> None:
    key = embedded.key
    server = embedded.start(NOTIFICATIONS_MAX_CONNECTIONS="2")
    async with connect(server.socket_url) as one, connect(server.socket_url) as other:
        for number, socket in enumerate((one, other)):
            health = (await socket.authenticate(key, f"c{number}"))["retry"]["health"]
            assert health == 0.1


def test_a_wrong_policy_stops_the_start(embedded: Deployment) -> None:
    embedded.env["NOTIFICATIONS_RETRY_POLICIES"] = '{"mobile": {"maxRetries": "many"}}'
    with pytest.raises(AssertionError, match=r"NOTIFICATIONS_RETRY_POLICIES.*mobile\.maxRetries"):
        embedded.manage("check")
