"""A subscriber's way from the upgrade to its messages, without a network."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest

from bench.load.connection import Opening
from bench.load.dialects import Refused, Target
from bench.load.frames import Opcode
from bench.load.tally import Tally
from bench.load.upgrade import UpgradeRefused
from tests.bench.test_frames import server_frame
from tests.bench.test_tally import STAMP, message

OURS = Target("ours", 1, "bench.fanout", "the-token", "7")
BASELINE = Target("baseline", 1, "bench.fanout", "", "7")


def test_clients_of_several_users_have_their_tokens_in_turn() -> None:
    target = OURS._replace(tokens=["a", "b"])
    said = [json.loads(next(target.converse(index)) or b"") for index in range(3)]
    assert [one["token"] for one in said] == ["a", "b", "a"]
    assert json.loads(next(OURS.converse(1)) or b"")["token"] == "the-token"


class Wire(asyncio.Transport):
    """A transport that keeps what is written and hands over to another protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.protocol: Any = None
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def abort(self) -> None:
        self.aborted = True

    def sent(self) -> list[Any]:
        """Unmask the text frames written since the last call."""
        texts, data, self.written = [], self.written, b""
        while data:
            head = 4 if data[1] & 0x7F == 126 else 2
            length = int.from_bytes(data[2:4], "big") if head == 4 else data[1] & 0x7F
            mask, body = data[head : head + 4], data[head + 4 : head + 4 + length]
            texts.append(json.loads(bytes(b ^ mask[i % 4] for i, b in enumerate(body))))
            data = data[head + 4 + length :]
        return texts


def text(**fields: Any) -> bytes:
    return server_frame(Opcode.TEXT, json.dumps(fields).encode())


def begin(target: Target, tally: Tally) -> tuple[Opening, Wire]:
    wire, opening = Wire(), Opening(target, 3, tally)
    wire.protocol = opening
    opening.connection_made(wire)
    return opening, wire


def switch(wire: Wire) -> bytes:
    """Answer the upgrade that was written."""
    head = wire.written.decode()
    wire.written = b""
    key = next(x for x in head.split("\r\n") if x.startswith("Sec-WebSocket-Key")).split(" ")[1]
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    proof = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
        f"sec-websocket-accept: {proof}\r\n\r\n"
    ).encode()


async def test_ours_authenticates_and_subscribes() -> None:
    opening, wire = begin(OURS, Tally())
    assert wire.written.startswith(b"GET /ws HTTP/1.1\r\n")
    assert b"Sec-WebSocket-Protocol: notifications.v1.json\r\n" in wire.written
    opening.data_received(switch(wire))
    [auth] = wire.sent()
    assert auth == {"type": "auth", "token": "the-token", "clientId": "bench-7-3"}
    opening.data_received(text(type="auth_success"))
    [subscribe] = wire.sent()
    assert subscribe == {"type": "subscribe", "id": 1, "topic": "bench.fanout"}
    assert not opening.subscribed.done()
    opening.data_received(text(type="subscribed", id=1))
    assert wire.protocol is opening.subscribed.result()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_what_follows_the_handshake_is_counted_however_it_is_cut(size: int) -> None:
    tally = Tally()
    opening, wire = begin(BASELINE, tally)
    assert wire.written.startswith(b"GET /ws/bench.fanout/ HTTP/1.1\r\n")
    ping = server_frame(Opcode.PING, b"you?")
    stream = switch(wire) + text(type="ready") + message(STAMP) + ping + message(STAMP + 1)
    for start in range(0, len(stream), size):
        wire.protocol.data_received(stream[start : start + size])
    subscriber = opening.subscribed.result()
    assert (subscriber.count, subscriber.stamp_sum) == (2, 2 * STAMP + 1)
    assert tally.received == 2
    assert wire.written[0] == 0x80 | Opcode.PONG
    assert len(wire.written) == 2 + 4 + len(b"you?")


async def test_a_lost_subscriber_says_so() -> None:
    opening, wire = begin(BASELINE, Tally())
    opening.data_received(switch(wire) + text(type="ready"))
    wire.protocol.connection_lost(None)
    assert opening.subscribed.result().lost


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n", UpgradeRefused),
        (b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\n\r\n", UpgradeRefused),
        (b"x" * 20_000, UpgradeRefused),
    ],
)
async def test_a_refused_upgrade_fails(answer: bytes, error: type[Exception]) -> None:
    opening, wire = begin(OURS, Tally())
    opening.data_received(answer)
    assert isinstance(opening.subscribed.exception(), error)
    assert wire.aborted


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (text(type="error", code="UNAUTHENTICATED"), Refused),
        (server_frame(Opcode.CLOSE, b"\x11\x95"), ConnectionError),
        (b"\x01\x00", ValueError),
    ],
)
async def test_a_refused_conversation_fails(answer: bytes, error: type[Exception]) -> None:
    opening, wire = begin(OURS, Tally())
    opening.data_received(switch(wire) + answer)
    assert isinstance(opening.subscribed.exception(), error)
    assert wire.aborted


async def test_a_connection_lost_before_it_was_subscribed_fails() -> None:
    opening, _ = begin(OURS, Tally())
    opening.connection_lost(None)
    assert isinstance(opening.subscribed.exception(), ConnectionError)
