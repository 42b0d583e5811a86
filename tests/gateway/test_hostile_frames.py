"""What no library would send, to a real server: the right close, no traceback, others served."""

import asyncio
from collections.abc import Iterator

import msgpack
import pytest

from tests.deployment import Deployment, Server
from tests.gateway.raw_socket import (
    BINARY,
    CLOSE,
    CONT,
    FIN,
    PING,
    TEXT,
    raw_frame,
    raw_session,
    raw_socket,
)
from tests.socket_client import session

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

RSV1 = 0x40
MOST = 65_536


@pytest.fixture(scope="module", params=["serve"])
def house(
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, str]]:
    directory = tmp_path_factory.mktemp("hostile")
    template = Deployment.template("sqlite", templates, directory)
    deployment = Deployment.create("sqlite", directory, template)
    key = deployment.manage(
        "create_api_key", "k", "--grant-publish=**", "--grant-subscribe=**"
    ).strip()
    server = deployment.start(NOTIFICATIONS_RATE_LIMITS="off")
    yield server, key
    deployment.close()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log.upper().replace("ERRORS", ""), log


# --- WebSocket frames that are none ---------------------------------------------------------------

HELLO = b'{"type":"ping"}'

BROKEN: dict[str, tuple[bytes, int]] = {
    "unmasked": (raw_frame(FIN | TEXT, HELLO, mask=False), 1002),
    "compressed without the extension": (raw_frame(FIN | RSV1 | TEXT, HELLO), 1002),
    "an opcode that is none": (raw_frame(FIN | 0x3, HELLO), 1002),
    "a control opcode that is none": (raw_frame(FIN | 0xB, b""), 1002),
    "a ping over 125 bytes": (raw_frame(FIN | PING, b"x" * 126), 1002),
    "a ping in fragments": (raw_frame(PING, b"x"), 1002),
    "a fragment of nothing": (raw_frame(FIN | CONT, HELLO), 1002),
    "a message within a message": (
        raw_frame(TEXT, b"{") + raw_frame(FIN | TEXT, HELLO),
        1002,
    ),
    "a close of one byte": (raw_frame(FIN | CLOSE, b"\x03"), 1002),
    "a close with a code that is none": (raw_frame(FIN | CLOSE, b"\x03\xe7"), 1002),
    "a close whose reason is no UTF-8": (raw_frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
    "text that is no UTF-8": (raw_frame(FIN | TEXT, b'{"type":"\xff"}'), 1007),
    "text that ends within a character": (raw_frame(FIN | TEXT, b'"\xc3'), 1007),
    "fragments that are no UTF-8 together": (
        raw_frame(TEXT, b'"\xe2\x82') + raw_frame(FIN | CONT, b'"'),
        1007,
    ),
    "no UTF-8, and a close behind it": (
        raw_frame(FIN | TEXT, b"\xff") + raw_frame(FIN | CLOSE, b"\x03\xe8"),
        1000,  # its close is answered, with its own code
    ),
    "a claim of 2^63 - 1 bytes": (raw_frame(FIN | TEXT, b"", claims=2**63 - 1), 1009),
    "a claim of a byte too many": (raw_frame(FIN | TEXT, b"", claims=MOST + 1), 1009),
    "fragments of a byte too many": (
        raw_frame(TEXT, b"x" * MOST) + raw_frame(CONT, b"", claims=1),
        1009,
    ),
}


@pytest.mark.parametrize("authenticated", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("sent", "code"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_closes(
    house: tuple[Server, str], sent: bytes, code: int, authenticated: bool
) -> None:
    server, key = house
    async with raw_session(server, key, "hostile") if authenticated else raw_socket(server) as peer:
        await peer.send(sent)
        assert await peer.until_closed() == (code, []), "nothing precedes it"


async def test_whole_text_in_fragments_is_taken(house: tuple[Server, str]) -> None:
    """Cut within a character, with a ping in between and hundreds of empty fragments."""
    server, key = house
    text = '{"type":"publish","id":1,"topic":"a.b","payload":"€"}'.encode()
    cut = text.index("€".encode()) + 1
    async with raw_session(server, key, "in fragments") as peer:
        await peer.send(
            raw_frame(TEXT, text[:cut]),
            *[raw_frame(CONT, b"")] * 500,
            raw_frame(FIN | PING, b"are you there?"),
            *[raw_frame(CONT, text[place : place + 1]) for place in range(cut, len(text))],
            raw_frame(FIN | CONT, b""),
        )
        assert (await peer.next_frame("published"))["topic"] == "a.b"


# --- Messages that are no frames ------------------------------------------------------------------

JSON = {
    "deep": b"[" * MOST,
    "deep in a field": b'{"type":"ping","x":' + b'{"a":' * 10_000,
    "deep and closed": b'{"type":"ping","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "an integer of 60,000 digits": b'{"type":"ping","t":1' + b"0" * 60_000 + b"}",
    "a float that is none": b'{"type":"ping","t":1e999}',
    "NaN": b'{"type":"ping","t":NaN}',
    "half a surrogate pair": b'{"type":"publish","id":1,"topic":"a","payload":"\\ud800"}',
    "NUL": b'{"type":"publish","id":1,"topic":"a","payload":1,"idempotencyKey":"a\\u0000b"}',
    "a key twice": b'{"type":"verify","id":1,"subscriptionIds":[],"id":"x","id":[]}',
    "nothing": b"",
    "white space": b" " * MOST,
    "a string without end": b'"' + b"\\" * (MOST - 1),
    "empty arrays": b"[" + b"[]," * 21_000 + b"[]]",
    "objects": b"[" + b"{}," * 21_000 + b"{}]",
    "many keys": b'{"type":"ping",' + b'"":0,' * 12_000 + b'"":0}',
    "backslashes and brackets": b'{"type":"ping","x":"' + b'\\"[' * 20_000 + b'"',
}


def packed(head: bytes, part: bytes, size: int = MOST) -> bytes:
    return head + part * ((size - len(head)) // len(part))


PUBLISH = msgpack.packb({"type": "publish", "id": 1, "topic": "a"})
PUBLISH = bytes((PUBLISH[0] + 1,)) + PUBLISH[1:] + msgpack.packb("payload")

MSGPACK = {
    "deep": b"\x91" * MOST,
    "deep in a field": packed(b"\x82\xa4type\xa4ping\xa1x", b"\x81\xa1a"),
    "an array of 2^32 - 1": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 60_000,
    "a map of 2^32 - 1": packed(b"\xdf\xff\xff\xff\xff", b"\xa1a\xc0"),
    "text of 2^32 - 1 bytes": b"\xdb\xff\xff\xff\xff" + b"x" * 60_000,
    "an extension of 2^32 - 1 bytes": b"\xc9\xff\xff\xff\xff\x05" + b"x" * 60_000,
    "arrays of 2^32 - 1 in each other": packed(b"", b"\xdd\xff\xff\xff\xff"),
    "a payload that claims 2^32 - 1": PUBLISH + b"\xdd\xff\xff\xff\xff" + b"\xc0" * 60_000,
    "a payload that claims what it has not": packed(PUBLISH, b"\x9f"),
    "half a surrogate pair": PUBLISH + b"\xa3\xed\xa0\x80",
    "a byte that is nothing": packed(b"", b"\xc1"),
    "nothing": b"",
    "more than a frame": b"\x81\xa4type\xa4ping\xc0",
}


@pytest.mark.parametrize(
    ("codec", "sent"),
    [
        *(("json", sent) for sent in JSON.values()),
        *(("msgpack", sent) for sent in MSGPACK.values()),
    ],
    ids=[*(f"json, {name}" for name in JSON), *(f"msgpack, {name}" for name in MSGPACK)],
)
async def test_a_hostile_message_is_refused_and_costs_little(
    house: tuple[Server, str], codec: str, sent: bytes
) -> None:
    """4502 before the authentication; afterwards an error, and the connection stays."""
    server, key = house
    assert len(sent) <= MOST
    framed = raw_frame(FIN | (BINARY if codec == "msgpack" else TEXT), sent)
    async with raw_socket(server, codec) as stranger:
        await stranger.send(framed)
        assert await stranger.until_closed() == (4502, [])
    async with raw_session(server, key, "hostile", codec) as peer:
        await peer.send(framed)
        error = await peer.next_frame("error")
        assert error["code"] == "BAD_FRAME"
        await peer.send_frame({"type": "ping"})
        await peer.next_frame("pong")


# --- Much of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "flood"),
    [
        ("json", raw_frame(FIN | TEXT, HELLO) * 10_000),
        ("json", raw_frame(FIN | PING, b"") * 40_000),
        ("json", raw_frame(FIN | TEXT, b'{"type":"ping","x":' + b"[]," * 100) * 200),
        ("msgpack", raw_frame(FIN | BINARY, packed(PUBLISH, b"\x90")) * 8),
    ],
    ids=["frames", "pings", "what does not decode", "large messages"],
)
async def test_who_floods_does_not_stop_others(
    house: tuple[Server, str], codec: str, flood: bytes, request: pytest.FixtureRequest
) -> None:
    server, key = house
    async with (
        raw_session(server, key, "floods", codec) as peer,
        session(server.socket_url, key, request.node.name[-60:]) as bystander,
    ):
        await bystander.subscribe("quiet.*")
        flooding = asyncio.create_task(peer.send(flood))
        for number in range(20):
            answer = await bystander.request("publish", topic="quiet.a", payload=number)
            assert answer["type"] == "published"
            assert (await bystander.message())["payload"] == number
        peer.writer.transport.abort()
        await asyncio.wait([flooding])
