"""What only a real server shows: bodies without a length, hop-by-hop headers, DEBUG on."""

import http.client
from collections.abc import Iterator
from contextlib import closing

import pytest

from notifications.api.bodies import SINGLE_BYTES
from tests.deployment import Deployment, Server

pytestmark = [pytest.mark.server, pytest.mark.sqlite]


@pytest.fixture(scope="module")
def house(
    templates: dict[str, Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    directory = tmp_path_factory.mktemp("http")
    template = Deployment.template("sqlite", templates, directory)
    deployment = Deployment.create("sqlite", directory, template)
    yield deployment.start(), deployment.key
    deployment.close()


def ask(
    house: tuple[Server, str], method: str, path: str, body: list[bytes] | None = None
) -> tuple[int, http.client.HTTPMessage]:
    """Send a request whose body, if any, is chunked; return the status and the headers."""
    server, key = house
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    with closing(connection):
        connection.request(
            method, path, iter(body) if body is not None else None, headers, encode_chunked=True
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def test_the_sockets_path_without_an_upgrade(house: tuple[Server, str]) -> None:
    status, headers = ask(house, "GET", "/ws")
    assert (status, headers["Upgrade"]) == (426, "websocket")


def test_no_page_with_a_traceback_below_api(house: tuple[Server, str]) -> None:
    for path in ("/api/nothing", "/api/v1/topics/a/b"):
        status, headers = ask(house, "GET", path)
        assert (status, headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([b'{"topic":"a.b",', b'"payload":1}'], 201),
        ([b" " * 1024] * (SINGLE_BYTES // 1024 + 1), 413),
        ([], 400),
    ],
)
def test_bodies_without_a_length(house: tuple[Server, str], body: list[bytes], status: int) -> None:
    assert ask(house, "POST", "/api/v1/publish", body)[0] == status


def test_the_server_goes_on_after_a_client_that_left_in_the_middle(
    house: tuple[Server, str],
) -> None:
    server, key = house
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", "/api/v1/publish")
    connection.putheader("Authorization", f"Api-Key {key}")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"topic"')
    connection.close()
    assert ask(house, "GET", "/healthz")[0] == 200
    assert "Traceback" not in server.log.read_text()
