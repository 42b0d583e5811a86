"""The client against a server that plays each part of the protocol."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from notifications.client import ConnectionEnded, Event, NotificationClient
from notifications.errors import BadFrame, Forbidden, PayloadTooLarge
from notifications.resilience.backoff import RetryPolicy
from tests.client.fake_server import FakeServer, Peer, Script, cursor

AT_ONCE = RetryPolicy(initial_delay=0, max_delay=0, jitter=False)


class Events:
    """What the client told."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.all if event.kind == kind]


async def welcomed(peer: Peer) -> None:
    await peer.welcome()
    await peer.until_gone()


def closing(code: int, *, after: Script | None = None) -> Script:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        if after is not None:
            await after(peer)
        await peer.socket.close(code)

    return script


async def test_messages_come_in_order_with_their_payload() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=4))
        await peer.message(5, payload={"id": 1}, metadata={"priority": "high"})
        await peer.message(6, payload=None)
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", client_id="c") as client:
            first, second = await anext(client), await anext(client)
            assert client.cursor is not None
            assert client.cursor.offsets == {"0": 5}
        hello = server.peers[0].hello
    assert (first.payload, first.seq, first.position) == ({"id": 1}, 5, (0, 5))
    assert first.metadata is not None
    assert first.metadata.priority == "high"
    assert second.payload is None
    assert (hello["type"], hello["token"], hello["clientId"]) == ("auth", "t", "c")
    assert "resume" not in hello


async def test_iteration_ends_when_the_application_closes() -> None:
    async with FakeServer(welcomed) as server:
        async with NotificationClient(server.url, token="t") as client:
            closing_soon = asyncio.create_task(client.close())
            assert [message async for message in client] == []
            await closing_soon


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4402, 4408, 4409, 4410, 4411, 4429, 4444])
async def test_codes_after_which_it_comes_back(code: int) -> None:
    async def again(peer: Peer) -> None:
        await peer.welcome()
        await peer.message(1)
        await peer.until_gone()

    async with FakeServer(closing(code), again) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            assert (await anext(client)).payload == 1
        assert len(server.peers) == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1002, "protocol_error"),
        (1008, "protocol_error"),
        (4401, "authentication_failed"),  # the token is a string: there is no other
        (4500, "protocol_error"),
        (4501, "authentication_failed"),
        (4503, "server_initiated"),
        (4504, "server_initiated"),
        (4999, "protocol_error"),
    ],
)
async def test_codes_after_which_it_stays_away(code: int, reason: str) -> None:
    async with FakeServer(closing(code)) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            with pytest.raises(ConnectionEnded) as ended:
                await anext(client)
            with pytest.raises(ConnectionEnded):
                await client.publish("a", 1)
        assert len(server.peers) == 1
    assert (ended.value.code, ended.value.reason) == (code, reason)


async def test_a_fresh_token_for_each_connection() -> None:
    tokens = iter(["old", "new"])

    async def fresh() -> str:
        return next(tokens)

    async with FakeServer(closing(4401), welcomed) as server:
        async with NotificationClient(server.url, token=fresh, retry=AT_ONCE) as client:
            while len(server.peers) < 2 or not server.peers[1].hello:
                await asyncio.sleep(0.01)
            assert client.cursor is not None
        assert [peer.hello["token"] for peer in server.peers] == ["old", "new"]


async def test_a_refused_token_fails_the_start_with_the_servers_words() -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send("error", code="UNAUTHENTICATED", message="Log in again.", temporary=False)
        await peer.socket.close(4501)

    async with FakeServer(script) as server:
        with pytest.raises(ConnectionEnded, match="Log in again"):
            async with NotificationClient(server.url, token="t"):
                pass


async def test_an_expiring_token_is_refreshed() -> None:
    refreshed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("token_expiring", expiresIn=60_000)
        request = await peer.receive()
        assert (request["type"], request["token"]) == ("refresh", "second")
        await peer.send("refreshed", id=request["id"], expiresIn=900_000)
        refreshed.set()
        await peer.until_gone()

    tokens = iter(["first", "second"])
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token=lambda: next(tokens)):
            await refreshed.wait()


async def test_it_resumes_from_what_it_received_and_drops_repeats() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=4, p1=9))
        for offset in (5, 6):
            await peer.message(offset)
        await peer.socket.close(4409)

    async def second(peer: Peer) -> None:
        await peer.welcome(resumed=True, sessionId="s2")
        for offset in (6, 7):
            await peer.message(offset, replayed=True)
        await peer.send("replay_complete", recovered=True, count=2, cursor=cursor(p0=7, p1=9))
        await peer.message(8)
        await peer.until_gone()

    events = Events()
    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=events
        ) as client:
            assert [(await anext(client)).payload for _ in range(4)] == [5, 6, 7, 8]
        resume = server.peers[1].hello["resume"]
        assert server.peers[1].hello["attempt"] == 1
        assert server.peers[1].hello["lastDisconnectReason"] == "network_error"
    assert resume == {"sessionId": "s1", "cursor": cursor(p0=6, p1=9)}
    assert [event.data["count"] for event in events.of("recovered")] == [2]
    assert events.of("gap") == []


async def test_a_session_that_was_not_resumed_is_a_gap() -> None:
    async def second(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=20))
        await peer.message(21)
        await peer.until_gone()

    events = Events()
    async with FakeServer(closing(1012, after=lambda peer: peer.message(5)), second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=events
        ) as client:
            assert [(await anext(client)).payload for _ in range(2)] == [5, 21]
            assert client.cursor is not None
            assert client.cursor.offsets == {"0": 20}
    assert [event.data["reason"] for event in events.of("gap")] == ["SESSION_LOST"]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({"type": "gap", "reason": "EPOCH_CHANGED", "cursor": cursor("x2", p0=1)}, "EPOCH_CHANGED"),
        (
            {
                "type": "replay_complete",
                "recovered": False,
                "count": 0,
                "reason": "BEYOND_RETENTION",
                "cursor": cursor("x2", p0=1),
            },
            "BEYOND_RETENTION",
        ),
    ],
)
async def test_a_gap_sets_the_cursor_back_and_is_told(frame: dict[str, Any], reason: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(cursor=cursor(p0=50))
        await peer.send(frame["type"], **frame)
        await peer.message(2)
        await peer.until_gone()

    events = Events()
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", on_event=events) as client:
            assert (await anext(client)).payload == 2
    assert [event.data["reason"] for event in events.of("gap")] == [reason]


async def test_a_subscription_that_the_server_lost_is_made_anew() -> None:
    requests: list[str] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        for number in range(2):
            await peer.subscribed(await peer.receive(), f"sub{number}")
        await peer.socket.close(1012)

    async def second(peer: Peer) -> None:
        kept = {"subscriptionId": "sub0", "topic": "a.*", "options": {}, "createdAt": ""}
        await peer.welcome(subscriptions=[kept])
        request = await peer.receive()
        requests.append(request["topic"])
        await peer.subscribed(request, "sub9")
        await peer.send("unsubscribed", subscriptionId="sub9", code="FORBIDDEN", reason="withdrawn")
        await peer.until_gone()

    events = Events()
    async with FakeServer(first, second) as server:
        async with NotificationClient(
            server.url, token="t", retry=AT_ONCE, on_event=events
        ) as client:
            assert await client.subscribe("a.*") == "sub0"
            assert await client.subscribe("b.*") == "sub1"
            while not events.of("unsubscribed"):
                await asyncio.sleep(0.01)
    assert requests == ["b.*"]
    assert events.of("unsubscribed")[0].data == {"pattern": "b.*", "code": "FORBIDDEN"}


async def test_a_subscription_that_exists_already_is_as_good_as_a_new_one() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        request = await peer.receive()
        await peer.send(
            "error",
            id=request["id"],
            code="ALREADY_SUBSCRIBED",
            message="You have it.",
            temporary=False,
            data={"subscriptionId": "sub7"},
        )
        request = await peer.receive()
        assert request["subscriptionId"] == "sub7"
        await peer.send("unsubscribed", id=request["id"], subscriptionId="sub7")
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            assert await client.subscribe("a.*") == "sub7"
            await client.unsubscribe("a.*")
            with pytest.raises(KeyError):
                await client.unsubscribe("a.*")


async def test_a_publish_is_repeated_under_its_key_when_the_answer_was_lost() -> None:
    requests: list[dict[str, Any]] = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        requests.append(await peer.receive())
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        requests.append(await peer.receive())
        await peer.published(requests[-1])
        await peer.until_gone()

    async with FakeServer(first, second) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE) as client:
            published = await client.publish("a", {"n": 1}, metadata={"correlationId": "c"})
    assert published.message_id == "m"
    assert requests[0]["idempotencyKey"] == requests[1]["idempotencyKey"]
    assert requests[0]["payload"] == {"n": 1}
    assert requests[0]["metadata"] == {"correlationId": "c"}


async def test_a_refused_publish_raises_the_servers_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        request = await peer.receive()
        await peer.send(
            "error", id=request["id"], code="FORBIDDEN", message="No grant.", temporary=False
        )
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            with pytest.raises(Forbidden, match=r"No grant\."):
                await client.publish("a", 1)


@pytest.mark.parametrize(
    ("payload", "metadata", "error"),
    [
        ("x" * 50_000, None, PayloadTooLarge),
        (object(), None, BadFrame),
        (1, {"priority": "loud"}, BadFrame),
        (1, {"expiresAt": "tomorrow"}, BadFrame),
    ],
)
async def test_what_the_server_would_refuse_is_not_sent(
    payload: Any, metadata: dict[str, Any] | None, error: type[Exception]
) -> None:
    async with FakeServer(welcomed) as server:
        async with NotificationClient(server.url, token="t") as client:
            with pytest.raises(error):
                await client.publish("a", payload, metadata=metadata)


async def test_a_handler_may_publish_while_the_inbox_is_full() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        for offset in range(1, 11):
            await peer.message(offset)
        for _ in range(10):
            await peer.published(await peer.receive())
        await peer.until_gone()

    received = []
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", inbox=2) as client:
            async for message in client:
                received.append(message.payload)
                await client.publish("echo", message.payload)
                if len(received) == 10:
                    break
    assert received == list(range(1, 11))


async def test_a_full_inbox_is_not_read_past() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        for offset in range(1, 7):
            await peer.message(offset)
        await peer.send("gap", reason="MARK", cursor=cursor(p0=6))
        await peer.until_gone()

    events = Events()
    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t", inbox=3, on_event=events) as client:
            received = []
            for _ in range(3):
                # Three are taken out and three may wait, so the mark behind six is not read.
                assert events.of("gap") == []
                received.append((await anext(client)).payload)
            received += [(await anext(client)).payload for _ in range(3)]
            while not events.of("gap"):
                await asyncio.sleep(0.01)
    assert received == [1, 2, 3, 4, 5, 6]


async def test_a_silent_server_is_left() -> None:
    async def silent(peer: Peer) -> None:
        await peer.welcome(heartbeat={"interval": 20, "timeout": 20})
        await peer.until_gone()

    events = Events()
    async with FakeServer(silent, welcomed) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE, on_event=events):
            while len(server.peers) < 2 or not server.peers[1].hello:
                await asyncio.sleep(0.01)
        assert server.peers[1].hello["lastDisconnectReason"] == "timeout"


async def test_pongs_keep_the_connection_and_move_the_cursor() -> None:
    enough = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome(heartbeat={"interval": 1, "timeout": 60_000})
        for head in (1, 2, 3):
            assert (await peer.receive())["type"] == "ping"
            await peer.send("pong", cursor=cursor(p0=head), serverTime="")
        assert (await peer.receive())["type"] == "ping"  # so the third pong was read
        enough.set()
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            await enough.wait()
            assert client.cursor is not None
            assert client.cursor.offsets == {"0": 3}
        assert len(server.peers) == 1


async def test_the_servers_wait_is_kept() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("disconnect", code=1012, reason="restart", reconnect=True, retryAfter=7)
        await peer.socket.close(1012)

    events = Events()
    async with FakeServer(script, welcomed) as server:
        async with NotificationClient(server.url, token="t", on_event=events):
            while len(server.peers) < 2:
                await asyncio.sleep(0.01)
    lost = events.of("disconnected")[0]
    assert lost.data == {"code": 1012, "reason": "network_error", "retryIn": 7}
    assert "restart" in lost.text


async def test_frames_of_a_later_version_are_passed_over() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(surprise=True)
        await peer.send("presence_diff", topic="a", joins=[], leaves=[])
        await peer.send("hologram", depth=3)
        await peer.message(1, aura="blue")
        await peer.until_gone()

    async with FakeServer(script) as server:
        async with NotificationClient(server.url, token="t") as client:
            assert (await anext(client)).payload == 1


async def test_an_upgrade_that_is_refused_for_now_is_tried_again() -> None:
    events = Events()
    at_once = {"Retry-After": "0"}
    refusals: tuple[tuple[int, dict[str, str]], ...] = ((503, at_once), (429, at_once), (500, {}))
    async with FakeServer(welcomed, refusals=refusals) as server:
        async with NotificationClient(server.url, token="t", retry=AT_ONCE, on_event=events):
            pass
    assert [event.data["retryIn"] for event in events.of("disconnected")] == [0, 0, 0, None]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_an_upgrade_that_is_refused_for_good_fails_the_start(status: int) -> None:
    async with FakeServer(welcomed, refusals=((status, {}),)) as server:
        with pytest.raises(ConnectionEnded, match=f"{status}.*not now"):
            async with NotificationClient(server.url, token="t", retry=AT_ONCE):
                pass


async def test_retries_end_where_the_policy_says() -> None:
    async with FakeServer(welcomed) as server:
        url = server.url
    events = Events()
    policy = RetryPolicy(max_retries=2, initial_delay=0)
    with pytest.raises(ConnectionEnded, match="cannot be reached"):
        async with NotificationClient(url, token="t", retry=policy, on_event=events):
            pass
    assert len(events.of("disconnected")) == 3


def test_the_client_needs_no_django() -> None:
    code = "import notifications.client, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
