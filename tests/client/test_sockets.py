"""The client over real sockets: transport, codecs, and what it needs to be installed."""

import subprocess
import sys
from typing import Any

import pytest

from bellwether_client import (
    ConnectionError,
    NotificationClient,
    NotificationClientConfig,
    RetryConfig,
)
from bellwether_client.config import CodecName
from tests.client.fake_server import FakeServer, Peer, cursor, held

AT_ONCE = RetryConfig(max_retries=0, initial_delay=0, jitter=False)


def client_of(server: FakeServer, **config: Any) -> NotificationClient:
    known: dict[str, Any] = {"url": server.url, "auth": "t", "retry_config": AT_ONCE}
    return NotificationClient(NotificationClientConfig(**known | config))


async def welcomed(peer: Peer) -> None:
    await peer.welcome()
    await peer.until_gone()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_whole_session(codec: CodecName) -> None:
    requests: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=4))
        requests.append(await peer.receive())
        await peer.subscribed(requests[-1])
        requests.append(await peer.receive())
        await peer.published(requests[-1])
        await peer.send("of a later version", deep={"x": [1.5, None]})
        await peer.message(5, payload={"ü": [1, 2.5, None, True]}, metadata={"priority": "high"})
        await peer.until("the message was handled")
        await peer.socket.close(4410)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, cursor=cursor(p0=5), subscriptions=[held("a.*")])
        await peer.message(6, replayed=True)
        await peer.send("replay_complete", recovered=True, count=1, cursor=cursor(p0=6))
        await peer.until_gone()

    async with FakeServer(first, second) as server, client_of(server, codec=codec) as client:
        async with client.stream("a.*") as messages:
            await messages.ready()
            published = await client.publish("a.b", {"n": [1, 1.5, "é", 2**53]}, source="s")
            one = await anext(messages)
            server.peers[0].say("the message was handled")
            two = await anext(messages)
        assert [peer.is_binary for peer in server.peers] == [codec == "msgpack"] * 2
        resume = server.peers[1].hello["resume"]
    assert published.id == "m"
    assert one.payload == {"ü": [1, 2.5, None, True]}
    assert one.metadata is not None
    assert (one.metadata.priority, one.position) == ("high", (0, 5))
    assert (two.payload, two.replayed) == (6, True)
    # The consumer had asked for the next, or had not yet.
    assert resume["cursor"] in (cursor(p0=4), cursor(p0=5))
    assert requests[1]["payload"] == {"n": [1, 1.5, "é", 2**53]}
    assert requests[1]["metadata"] == {"source": "s"}


async def test_an_upgrade_that_is_refused_for_now_is_tried_again() -> None:
    at_once = {"Retry-After": "0"}
    refusals: tuple[tuple[int, dict[str, str]], ...] = ((503, at_once), (429, at_once), (500, {}))
    async with FakeServer(welcomed, refusals=refusals) as server:
        async with client_of(server) as client:
            messages = [failure.message for failure in client.get_stats().failures]
    assert ["503" in messages[0], "429" in messages[1], "500" in messages[2]] == [True] * 3


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_an_upgrade_that_is_refused_for_good_fails_the_start(status: int) -> None:
    async with FakeServer(welcomed, refusals=((status, {}),)) as server:
        with pytest.raises(ConnectionError, match=f"{status}.*not now") as failed:
            async with client_of(server):
                pass
    assert failed.value.reason == "protocol_error"


async def test_nobody_there() -> None:
    async with FakeServer(welcomed) as server:
        client = client_of(server, retry_config=RetryConfig(max_retries=1, initial_delay=0))
    with pytest.raises(ConnectionError, match="cannot be reached"):
        await client.connect()


async def test_a_peer_that_vanishes_without_a_word() -> None:
    async def vanishing(peer: Peer) -> None:
        await peer.welcome()
        peer.socket.transport.abort()

    async with FakeServer(vanishing, welcomed) as server, client_of(server) as client:
        while not server.peers[1:]:
            await server.changed.wait()
        assert client.get_stats().failures[0].close_code == 1006


@pytest.mark.parametrize(
    "config",
    [
        {"url": "http://x/ws"},
        {"url": "ws://"},
        {"client_id": "a b"},
        {"client_id": ""},
        {"codec": "xml"},
        {"kind": "toaster"},
    ],
)
def test_what_cannot_be_meant_is_an_error_at_once(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no URL|client_id|codec|kind"):
        NotificationClientConfig(**{"url": "ws://localhost/ws", "auth": "t", **config})


def test_a_token_is_not_in_what_is_printed() -> None:
    config = NotificationClientConfig(url="ws://localhost/ws", auth="secret")
    assert "secret" not in repr(config)


def in_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_it_needs_neither_django_nor_anything_of_the_server() -> None:
    names = "django notifications accounts config msgspec"
    code = f"import sys, bellwether_client; print({{*{names.split()}}} & {{*sys.modules}})"
    assert in_python(code) in ("set()", "{'msgspec'}")


def test_without_msgspec_it_speaks_json_and_says_what_msgpack_needs() -> None:
    code = """
import sys
sys.modules["msgspec"] = None
from bellwether_client import NotificationClient, NotificationClientConfig
from bellwether_client.codec import codec_of
print(codec_of("json").decode(codec_of("json").encode({"a": 1})))
NotificationClient(NotificationClientConfig(url="ws://x/ws", auth="t", codec="msgpack"))
"""
    printed = in_python(code)
    assert printed.startswith("{'a': 1}")
    assert "codec='msgpack' needs msgspec" in printed
