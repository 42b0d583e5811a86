"""Opening real sockets: what stands between, what is refused, and what is written about it."""

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

import pytest

from bellwether_client import (
    ConnectionError,
    ConnectionState,
    NotificationClient,
    NotificationClientConfig,
)
from bellwether_client.transport import Refused, Unreachable, Unusable, WebSockets
from tests.client.fake_server import FakeServer, Peer, Script

JSON = "notifications.v1.json"


async def welcomed(peer: Peer) -> None:
    await peer.welcome()
    await peer.until_gone()


async def opening(server: FakeServer) -> Any:
    with pytest.raises((Refused, Unreachable, Unusable)) as failed:
        await WebSockets().open(server.url, JSON)
    return failed.value


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_with_the_token(status: int) -> None:
    async with FakeServer(welcomed) as elsewhere:
        refusals = ((status, {"Location": elsewhere.url}),)
        async with FakeServer(welcomed, refusals=refusals) as server:
            client = NotificationClient(NotificationClientConfig(url=server.url, auth="secret"))
            with pytest.raises(ConnectionError, match=str(status)) as failed:
                async with client:
                    pass
        assert elsewhere.peers == []
    assert (failed.value.status, failed.value.close_code) == (status, None)


async def test_a_redirect_to_a_page_to_log_in_is_told_by_its_status() -> None:
    refusals = ((302, {"Location": "https://login.example.org/"}),)
    async with FakeServer(welcomed, refusals=refusals) as server:
        assert (await opening(server)).status == 302


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("a date", 3_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    if header == "a date":
        header = formatdate(time.time() + 3_000, usegmt=True)
    async with FakeServer(welcomed, refusals=((429, {"Retry-After": header}),)) as server:
        refused = await opening(server)
    if seconds is None:
        assert refused.retry_after is None
    else:
        assert seconds * 1_000 - 100_000 <= refused.retry_after <= seconds * 1_000
    assert refused.status == 429


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"SOCKS_PROXY": "socks5://127.0.0.1:1"}, "ws://nowhere.invalid/ws"),
        ({"HTTPS_PROXY": "gopher://127.0.0.1:1"}, "wss://nowhere.invalid/ws"),
        ({}, f"ws://{'a' * 64}.invalid/ws"),
    ],
)
async def test_what_can_never_be_opened_is_unusable(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SOCKS_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unusable, match="cannot be used"):
        await WebSockets().open(url, JSON)


async def test_no_token_is_logged_whatever_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeServer(welcomed) as server:
        config = NotificationClientConfig(url=server.url, auth="s3cr3t", debug=True)
        async with NotificationClient(config):
            pass
    by_client = [one for one in caplog.records if not one.name.startswith("websockets.server")]
    assert "sends auth" in "\n".join(one.getMessage() for one in by_client)
    assert "s3cr3t" not in "\n".join(one.getMessage() for one in by_client)


async def test_no_message_holds_the_secrets_of_a_url() -> None:
    async with FakeServer(welcomed) as server:
        url = server.url
    secret = url.replace("ws://", "ws://user:s3cr3t@") + "?token=s3cr3t"
    with pytest.raises(Unreachable) as failed:
        await WebSockets().open(secret, JSON)
    assert str(failed.value).startswith(f"{url} cannot be reached")
    assert "s3cr3t" not in str(failed.value)
    with pytest.raises(Unusable) as unusable:
        await WebSockets().open(f"{secret}#part", JSON)
    assert "s3cr3t" not in str(unusable.value)
    with pytest.raises(ValueError, match="url is no URL") as wrong:
        NotificationClientConfig(url=f"http{secret[2:]}", auth="t")
    assert "s3cr3t" not in str(wrong.value)


@pytest.mark.parametrize(
    "config",
    [
        {"url": "ws://localhost:99999/ws"},
        {"url": "ws://localhost:http/ws"},
        {"auth": None},
        {"auth": ""},
        {"heartbeat_interval": 0},
        {"heartbeat_timeout": -1},
        {"heartbeat_interval": float("nan")},
        {"retry_config": {"max_retries": 2}},
        {"queue_config": None},
        {"batch": {"max_size": 5}},
        {"circuit_breaker": None},
        {"storage": "state.json"},
    ],
)
def test_a_mistake_in_the_configuration_is_told_at_once(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(url|auth|config|batch|breaker|storage) is|heartbeat"):
        NotificationClientConfig(**{"url": "ws://localhost/ws", "auth": "t", **config})


def answering(text: bytes) -> Any:
    """Answer every connection with these bytes, and nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    return answer


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=lambda text: text[:30].decode(),
)
async def test_who_is_no_websocket_server_is_told_and_nothing_is_logged(
    text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.start_server(answering(text), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((Refused, Unreachable)):
            await WebSockets().open(f"ws://127.0.0.1:{port}/ws", JSON)
    assert caplog.text == ""


async def gone_in_the_middle(peer: Peer) -> None:
    await peer.welcome()
    # The head of a text frame of 125 bytes, and 2 of them.
    peer.socket.transport.write(b"\x81\x7dab")
    peer.socket.transport.abort()


async def too_much(peer: Peer) -> None:
    await peer.welcome()
    await peer.socket.send("x" * (16 * 2**20 + 1))
    await peer.until_gone()


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [(gone_in_the_middle, 1006, "reconnecting"), (too_much, 1009, "disconnected")],
)
async def test_frames_that_are_cut_off_or_too_large(script: Script, code: int, status: str) -> None:
    seen = asyncio.Event()
    async with FakeServer(script) as server:
        client = NotificationClient(NotificationClientConfig(url=server.url, auth="t"))

        def look(state: ConnectionState) -> None:
            if state.status == status:
                seen.set()

        client.on_state_change(look)
        async with client:
            await seen.wait()
            assert client.get_stats().failures[0].close_code == code
