"""The client in both codecs: what it sends and reads is the same."""

import datetime
import math
from typing import Any

import pytest

from notifications.client import NotificationClient
from notifications.client.wire import CodecName
from notifications.errors import BadFrame, PayloadTooLarge
from notifications.protocol.frames import SubscriptionOptions
from notifications.resilience.backoff import RetryPolicy
from tests.client.fake_server import FakeServer, Peer, cursor

CODECS: list[CodecName] = ["json", "msgpack"]


@pytest.mark.parametrize("codec", CODECS)
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
        await peer.socket.close(4410)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, cursor=cursor(p0=5))
        await peer.message(6, replayed=True)
        await peer.send("replay_complete", recovered=True, count=1, cursor=cursor(p0=6))
        await peer.until_gone()

    policy = RetryPolicy(max_retries=0, initial_delay=0, max_delay=0, jitter=False)
    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", client_id="c", retry=policy, codec=codec
        ) as client:
            since = {"epoch": "x1", "offsets": {"0": 10**30}}
            await client.subscribe("a.*", SubscriptionOptions(since=since))
            await client.publish("a.b", {"n": [1, 1.5, "é", 10**30]}, metadata={"source": "s"})
            one, two = await anext(client), await anext(client)
        hellos = [peer.hello for peer in server.peers]
        assert [peer.is_binary for peer in server.peers] == [codec == "msgpack"] * 2
    assert one.payload == {"ü": [1, 2.5, None, True]}
    assert one.metadata is not None
    assert (one.metadata.priority, one.position) == ("high", (0, 5))
    assert (two.payload, two.replayed) == (6, True)
    assert hellos[1]["resume"] == {"sessionId": "s1", "cursor": cursor(p0=5)}
    subscribe, publish = requests
    big = 10**30 if codec == "json" else 1e30
    assert subscribe["options"] == {"since": {"epoch": "x1", "offsets": {"0": big}}}
    assert publish["payload"] == {"n": [1, 1.5, "é", big]}
    assert publish["metadata"] == {"source": "s"}


@pytest.mark.parametrize("codec", CODECS)
async def test_values_of_python_mean_what_they_mean_in_json(codec: CodecName) -> None:
    sent: list[Any] = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        request = await peer.receive()
        sent.append(request["payload"])
        await peer.published(request)
        await peer.until_gone()

    at = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", codec=codec) as client:
            await client.publish("a", {1: at, "b": b"x", "n": math.nan, "t": (1, 2)})
    assert sent == [{"1": "2030-01-01T00:00:00Z", "b": "eA==", "n": None, "t": [1, 2]}]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("x" * 49_150, PayloadTooLarge),  # and three bytes in front
        ([1.5] * 6_000, PayloadTooLarge),  # 24,001 bytes of JSON
        (nested(16), BadFrame),
        (object(), BadFrame),
    ],
)
async def test_what_the_server_would_refuse_is_not_sent(
    payload: Any, error: type[Exception]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", codec="msgpack") as client:
            with pytest.raises(error):
                await client.publish("a", payload)


def test_another_codec_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="json, msgpack"):
        NotificationClient("ws://localhost/ws", token="t", codec="xml")  # type: ignore[arg-type]
