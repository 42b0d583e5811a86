"""The core frames over real sockets, with a client that is not ours: what works, what doesn't."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import websockets
from websockets.typing import Origin, Subprotocol

from tests.deployment import Deployment, Server
from tests.gateway.servers import EACH_SERVER_AND_CODEC, SERVERS
from tests.socket_client import SUBPROTOCOLS, SocketClient, connect, session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

PREPARED = (
    ("create_api_key", "narrow", "--grant-publish=n.*", "--grant-subscribe=n.*"),
    ("policy", "ephemeral.*", "--ephemeral"),
)


@pytest.fixture(scope="module", params=EACH_SERVER_AND_CODEC, ids="-".join)
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, str, str, str]]:
    """A server with short deadlines, a key that may do all, one that may do little, and a codec."""
    directory = tmp_path_factory.mktemp("gateway")
    template = Deployment.template("sqlite", templates, directory, *PREPARED)
    deployment = Deployment.create("sqlite", directory, template)
    kind, codec = request.param
    server = deployment.start(*SERVERS[kind], NOTIFICATIONS_AUTH_TIMEOUT_SECONDS="1")
    yield server, deployment.key, deployment.printed[1], codec
    deployment.close()
    # None of all this may have failed inside the server, whatever the client was told.
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def server(house: tuple[Server, str, str, str]) -> Server:
    return house[0]


@pytest.fixture
def key(house: tuple[Server, str, str, str]) -> str:
    return house[1]


@pytest.fixture
def narrow(house: tuple[Server, str, str, str]) -> str:
    return house[2]


@pytest.fixture
def codec(house: tuple[Server, str, str, str]) -> str:
    return house[3]


@pytest.fixture
async def client(
    server: Server, key: str, codec: str, request: pytest.FixtureRequest
) -> AsyncIterator[SocketClient]:
    async with session(server.socket_url, key, request.node.name[:128], codec) as client:
        yield client


async def test_subscribe_publish_receive(client: SocketClient) -> None:
    await client.subscribe("t1.*")
    published = await client.request("publish", topic="t1.a", payload={"x": [1, None, "ü"]})
    message = await client.message()
    assert published["type"] == "published"
    assert message["id"] == published["messageId"]
    assert message["payload"] == {"x": [1, None, "ü"]}
    assert (message["seq"], message["position"]) == (published["seq"], published["position"])
    assert message["timestamp"] == published["timestamp"]


async def test_an_ephemeral_message_has_no_place(client: SocketClient) -> None:
    await client.subscribe("ephemeral.*")
    published = await client.request("publish", topic="ephemeral.a", payload=1, idempotencyKey="k")
    message = await client.message()
    assert published["type"] == "published"
    assert message["id"] == published["messageId"]
    assert not {"seq", "position", "duplicate"} & (set(published) | set(message))
    durable = await client.request("publish", topic="ephemeral.a.b", payload=1)
    assert durable["seq"] == 1


async def test_overlapping_patterns_deliver_once(client: SocketClient) -> None:
    for pattern in ("t2.a", "t2.*", "t2.**"):
        await client.subscribe(pattern)
    await client.request("publish", topic="t2.a", payload=1)
    await client.request("publish", topic="t2.a", payload=2)
    assert [message["payload"] for message in await client.messages(2)] == [1, 2]


async def test_after_unsubscribe_nothing_follows(client: SocketClient) -> None:
    first = await client.subscribe("t3.a")
    await client.subscribe("t3.b")
    reply = await client.request("unsubscribe", subscriptionId=first["subscriptionId"])
    assert reply == {
        "type": "unsubscribed",
        "id": reply["id"],
        "subscriptionId": first["subscriptionId"],
    }
    await client.request("publish", topic="t3.a", payload="unwanted")
    await client.request("publish", topic="t3.b", payload="wanted")
    assert (await client.message())["payload"] == "wanted"


async def test_pong_tells_how_far_the_connection_is_complete(client: SocketClient) -> None:
    await client.subscribe("t4.a")
    published = await client.request("publish", topic="t4.a", payload=1)
    await client.message()
    await client.send({"type": "ping", "t": 7.5})
    pong = await client.receive()
    partition, offset = published["position"]
    assert (pong["type"], pong["t"]) == ("pong", 7.5)
    assert pong["cursor"]["offsets"][str(partition)] >= offset
    await client.send({"type": "ping"})
    again = await client.receive()
    assert str(partition) not in again["cursor"]["offsets"]
    assert "t" not in again


async def test_verify_tells_which_subscriptions_are_in_force(client: SocketClient) -> None:
    held = (await client.subscribe("t5.a"))["subscriptionId"]
    gone = (await client.subscribe("t5.b"))["subscriptionId"]
    await client.request("unsubscribe", subscriptionId=gone)
    reply = await client.request("verify", subscriptionIds=[gone, held, "nonsense"])
    assert reply["active"] == [held]
    assert reply["inactive"] == [
        {"subscriptionId": gone, "code": "UNKNOWN_SUBSCRIPTION"},
        {"subscriptionId": "nonsense", "code": "UNKNOWN_SUBSCRIPTION"},
    ]


async def test_subscriptions_outlive_the_socket(server: Server, key: str, codec: str) -> None:
    async with session(server.socket_url, key, "outlives", codec) as client:
        held = await client.subscribe("t6.*")
    async with connect(server.socket_url, codec) as client:
        answer = await client.authenticate(key, "outlives")
        assert [(one["subscriptionId"], one["topic"]) for one in answer["subscriptions"]] == [
            (held["subscriptionId"], "t6.*")
        ]
        await client.request("publish", topic="t6.a", payload=1)
        assert (await client.message())["payload"] == 1


async def test_a_batch_is_answered_one_by_one_in_order(client: SocketClient) -> None:
    await client.send(
        [
            {"type": "publish", "id": 1, "topic": "t7.a", "payload": 1},
            {"type": "publish", "id": 2, "topic": "bad topic", "payload": 2},
            {"type": "subscribe", "id": 3, "topic": "t7.b"},
            {"type": "publish", "id": 4, "topic": "t7.b", "payload": 4},
            {"type": "nonsense", "id": 5},
            {"type": "verify", "id": 6, "subscriptionIds": []},
        ]
    )
    frames = [await client.receive() for _ in range(7)]
    replies = [frame for frame in frames if frame["type"] != "message"]
    assert [(frame["id"], frame["type"], frame.get("code")) for frame in replies] == [
        (1, "published", None),
        (2, "error", "BAD_TOPIC"),
        (3, "subscribed", None),
        (4, "published", None),
        (5, "error", "UNKNOWN_TYPE"),
        (6, "verified", None),
    ]


async def test_an_idempotent_retry_gets_the_same_answer(client: SocketClient) -> None:
    request = {"topic": "t8.a", "payload": {"a": 1, "b": 2.0}, "idempotencyKey": "once"}
    first = await client.request("publish", **request)
    again = await client.request("publish", **request | {"payload": {"b": 2, "a": 1}})
    assert again["duplicate"] is True
    assert {**again, "id": 0} == {**first, "id": 0, "duplicate": True}
    conflict = await client.request("publish", **request | {"payload": 2})
    assert (conflict["type"], conflict["code"]) == ("error", "CONFLICT")


async def test_replies_to_many_publishes_come_in_order(client: SocketClient) -> None:
    for number in range(300):
        await client.send({"type": "publish", "id": number, "topic": "t9.a", "payload": number})
    replies = [await client.receive() for _ in range(300)]
    assert [reply["id"] for reply in replies] == list(range(300))
    assert [reply["seq"] for reply in replies] == list(range(1, 301))


async def test_the_newer_connection_of_a_client_takes_over(
    server: Server, key: str, codec: str
) -> None:
    async with session(server.socket_url, key, "one tab", codec) as older:
        async with session(server.socket_url, key, "one tab", codec) as newer:
            code, frames = await older.closed()
            assert code == 4504
            assert frames[-1]["type"] == "disconnect"
            assert (frames[-1]["code"], frames[-1]["reconnect"]) == (4504, False)
            await newer.subscribe("t10.a")


async def test_expired_messages_are_stored_and_not_delivered(client: SocketClient) -> None:
    await client.subscribe("t11.a")
    past = {"expiresAt": "2020-01-01T00:00:00Z"}
    published = await client.request("publish", topic="t11.a", payload="late", metadata=past)
    assert published["seq"] == 1
    await client.request("publish", topic="t11.a", payload="in time")
    message = await client.message()
    assert (message["payload"], message["seq"]) == ("in time", 2)


async def test_metadata_arrives_in_the_one_form_of_instants(client: SocketClient) -> None:
    await client.subscribe("t12.a")
    metadata = {
        "priority": "high",
        "expiresAt": "2099-01-01T02:00:00+02:00",
        "correlationId": "c",
        "source": "s",
    }
    await client.request("publish", topic="t12.a", payload=1, metadata=metadata)
    assert (await client.message())["metadata"] == metadata | {
        "expiresAt": "2099-01-01T00:00:00.000Z"
    }


# --- What is refused ----------------------------------------------------------------------------

NONSENSE = object()
"""Stands for what does not decode, whatever the codec."""


def spoken(client: SocketClient, sent: Any) -> Any:
    nonsense: str | bytes = b"\xc1" if client.is_binary else "{nonsense"
    return nonsense if sent is NONSENSE else sent


DEEP: Any = 1
for _ in range(16):
    DEEP = [DEEP]

REFUSED: list[tuple[str, Any, str, bool]] = [
    # name, what is sent, the code, whether the answer carries the id
    ("undecodable", NONSENSE, "BAD_FRAME", False),
    ("no object", 7, "BAD_FRAME", False),
    ("no type", {"id": 1}, "BAD_FRAME", False),
    ("too deep", {"type": "publish", "id": 1, "topic": "a", "payload": DEEP}, "BAD_FRAME", False),
    ("too many keys", {"type": "ping", **{f"k{n}": 1 for n in range(256)}}, "BAD_FRAME", False),
    ("nested batch", [[{"type": "ping"}]], "BAD_FRAME", False),
    ("batch too long", [{"type": "ping"}] * 101, "BAD_FRAME", False),
    ("unknown type", {"type": "nonsense", "id": 1}, "UNKNOWN_TYPE", True),
    ("replay without an object", {"type": "replay", "id": 1, "cursor": 5}, "BAD_CURSOR", True),
    ("presence is not served yet", {"type": "presence", "id": 1, "topic": "a"}, "UNKNOWN_TYPE", True),
    ("ack of no cursor", {"type": "ack", "cursor": {}}, "BAD_CURSOR", False),
    ("a second auth", {"type": "auth", "id": 1, "token": "x", "clientId": "y"}, "BAD_FRAME", True),
    ("no id", {"type": "subscribe", "topic": "a"}, "BAD_FRAME", False),
    ("an id of the wrong type", {"type": "subscribe", "id": [], "topic": "a"}, "BAD_FRAME", False),
    ("no topic", {"type": "subscribe", "id": 1}, "BAD_FRAME", True),
    ("topic of the wrong type", {"type": "subscribe", "id": 1, "topic": 7}, "BAD_FRAME", True),
    ("no payload", {"type": "publish", "id": 1, "topic": "a"}, "BAD_FRAME", True),
    ("empty topic", {"type": "subscribe", "id": 1, "topic": ""}, "BAD_TOPIC", True),
    ("bad pattern", {"type": "subscribe", "id": 1, "topic": "a.**.b"}, "BAD_TOPIC", True),
    ("publish to a pattern", {"type": "publish", "id": 1, "topic": "a.*", "payload": 1}, "BAD_TOPIC", True),
    ("publish to $sys", {"type": "publish", "id": 1, "topic": "$sys.a", "payload": 1}, "FORBIDDEN", True),
    ("too large", {"type": "publish", "id": 1, "topic": "a", "payload": "x" * 49_151}, "PAYLOAD_TOO_LARGE", True),
    ("bad priority", {"type": "publish", "id": 1, "topic": "a", "payload": 1, "metadata": {"priority": "p"}}, "BAD_FRAME", True),
    ("bad expiry", {"type": "publish", "id": 1, "topic": "a", "payload": 1, "metadata": {"expiresAt": "soon"}}, "BAD_FRAME", True),
    ("empty key", {"type": "publish", "id": 1, "topic": "a", "payload": 1, "idempotencyKey": ""}, "BAD_FRAME", True),
    ("unknown subscription", {"type": "unsubscribe", "id": 1, "subscriptionId": "x"}, "UNKNOWN_SUBSCRIPTION", True),
    ("ids that are no array", {"type": "verify", "id": 1, "subscriptionIds": "x"}, "BAD_FRAME", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sent", "code", "has_id"), REFUSED, ids=[row[0] for row in REFUSED]
)
async def test_bad_input_is_answered_and_the_connection_stays(
    client: SocketClient, name: str, sent: Any, code: str, has_id: bool
) -> None:
    await client.send(spoken(client, sent))
    error = await client.receive()
    assert (error["type"], error["code"]) == ("error", code)
    assert ("id" in error) is has_id
    assert error["message"].endswith((".", "!")), error["message"]
    assert "Traceback" not in error["message"]
    await client.send({"type": "ping"})
    assert (await client.receive())["type"] == "pong"


async def test_a_payload_at_the_limit_is_taken(client: SocketClient) -> None:
    text = "x" * (49_149 if client.is_binary else 49_150)  # with a header of 3 bytes, or quotes
    reply = await client.request("publish", topic="limit.a", payload=text)
    assert reply["type"] == "published"
    error = await client.request("publish", topic="limit.a", payload=text + "x")
    assert error["code"] == "PAYLOAD_TOO_LARGE"


async def test_the_same_pattern_twice(client: SocketClient) -> None:
    held = await client.subscribe("twice.*")
    error = await client.request("subscribe", topic="twice.*")
    assert error["code"] == "ALREADY_SUBSCRIBED"
    assert error["data"] == {"subscriptionId": held["subscriptionId"]}


async def test_the_seventeenth_pattern(client: SocketClient) -> None:
    for number in range(16):
        await client.subscribe(f"p{number}.*")
    error = await client.request("subscribe", topic="p17.*")
    assert error["code"] == "LIMIT_SUBSCRIPTIONS"
    await client.subscribe("a.literal")


async def test_the_hundred_and_first_subscription(client: SocketClient) -> None:
    for number in range(100):
        await client.subscribe(f"many.t{number}")
    error = await client.request("subscribe", topic="many.more")
    assert error["code"] == "LIMIT_SUBSCRIPTIONS"


async def test_what_no_grant_covers(server: Server, narrow: str, codec: str) -> None:
    async with session(server.socket_url, narrow, "narrow", codec) as client:
        await client.subscribe("n.*")
        for pattern in ("n.**", "**", "*.a", "n", "m.a", "$sys.a"):
            error = await client.request("subscribe", topic=pattern)
            assert error["code"] == "FORBIDDEN", pattern
        error = await client.request("publish", topic="m.a", payload=1)
        assert error["code"] == "FORBIDDEN"
        assert (await client.request("publish", topic="n.a", payload=1))["type"] == "published"


# --- What closes --------------------------------------------------------------------------------


def other_kind(client: SocketClient) -> str | bytes:
    return "{}" if client.is_binary else b"{}"


def auth(key: str, **more: Any) -> dict[str, Any]:
    return {"type": "auth", "token": key, "clientId": "closes", **more}


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "ping"}, 4502),
        (NONSENSE, 4502),
        ([{"type": "auth", "token": "x", "clientId": "y"}], 4502),
        ("of the other kind", 4502),
        ({"type": "auth", "token": "x" * 9000, "clientId": "y"}, 4502),
    ],
    ids=["another frame", "undecodable", "an array", "other kind", "over 8 KiB"],
)
async def test_a_first_frame_that_is_no_auth(
    server: Server, codec: str, first: Any, code: int
) -> None:
    async with connect(server.socket_url, codec) as client:
        await client.send(
            other_kind(client) if first == "of the other kind" else spoken(client, first)
        )
        assert await client.closed() == (code, [])


@pytest.mark.parametrize("missing", ["token", "clientId"])
async def test_auth_without_its_fields(server: Server, key: str, codec: str, missing: str) -> None:
    frame = auth(key, id="a1")
    del frame[missing]
    async with connect(server.socket_url, codec) as client:
        await client.send(frame)
        code, (error,) = await client.closed()
        assert (code, error["code"], error["id"]) == (4501, "BAD_FRAME", "a1")


@pytest.mark.parametrize("token", ["nonsense", "bw_0123456789ab_wrong", "a.b.c"])
async def test_auth_that_proves_nothing(server: Server, codec: str, token: str) -> None:
    async with connect(server.socket_url, codec) as client:
        await client.send(auth(token))
        code, (error,) = await client.closed()
        assert (code, error["code"]) == (4501, "UNAUTHENTICATED")


async def test_auth_that_comes_too_late(server: Server, codec: str) -> None:
    async with connect(server.socket_url, codec) as client:
        assert await client.closed() == (4402, [])


async def test_the_tenth_undecodable_message_closes(client: SocketClient) -> None:
    for _ in range(10):
        await client.send(spoken(client, NONSENSE))
    code, frames = await client.closed()
    assert code == 4500
    assert [frame["type"] for frame in frames] == ["error"] * 10 + ["disconnect"]
    assert frames[-1]["code"] == 4500


@pytest.fixture
def close_code(request: pytest.FixtureRequest) -> Any:
    """What a close looks like: Daphne cannot send codes below 3000 but 1000."""
    is_daphne = "daphne" in request.node.callspec.id
    return lambda wanted: 4500 if is_daphne else wanted


async def test_a_frame_of_the_other_kind_closes(client: SocketClient, close_code: Any) -> None:
    await client.send(other_kind(client))
    assert await client.closed() == (close_code(1003), [])


async def test_an_oversized_message_closes(client: SocketClient, close_code: Any) -> None:
    await client.send(b"x" * 65_537 if client.is_binary else "x" * 65_537)
    assert await client.closed() == (close_code(1009), [])


# --- Upgrades -----------------------------------------------------------------------------------


async def refused(server: Server, path: str = "", **options: Any) -> int:
    with pytest.raises(websockets.InvalidStatus) as refusal:
        async with websockets.connect(server.socket_url + path, **options):
            pass
    return refusal.value.response.status_code


@pytest.fixture
def status(house: tuple[Server, str, str, str], request: pytest.FixtureRequest) -> Any:
    """What a refusal looks like: Daphne has no other answer to an upgrade than 403."""
    is_daphne = "daphne" in request.node.callspec.id
    return lambda wanted: 403 if is_daphne else wanted


async def test_an_unknown_subprotocol(server: Server, status: Any) -> None:
    assert await refused(server, subprotocols=["nonsense"]) == status(400)


async def test_a_foreign_origin(server: Server) -> None:
    assert await refused(server, origin="http://evil.example") == 403


async def test_an_origin_that_is_no_address(server: Server) -> None:
    # Daphne's own library is the first to refuse it, as malformed.
    assert await refused(server, origin="http://[") in (400, 403)


async def test_another_path(server: Server, status: Any) -> None:
    assert await refused(server, "/other") == status(404)


async def test_the_own_origin(server: Server) -> None:
    async with websockets.connect(server.socket_url, origin=Origin(server.url)) as connection:
        assert connection.subprotocol is None


@pytest.mark.parametrize("first", ["json", "msgpack"])
async def test_the_first_known_subprotocol_is_echoed(server: Server, first: str) -> None:
    known = sorted(SUBPROTOCOLS.values(), reverse=first == "msgpack")
    async with websockets.connect(
        server.socket_url, subprotocols=[Subprotocol(name) for name in ("other", *known)]
    ) as connection:
        assert connection.subprotocol == SUBPROTOCOLS[first]


def test_no_upgrade(server: Server) -> None:
    assert server.request("GET", "/ws").status == 426
