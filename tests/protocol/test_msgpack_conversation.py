"""A connection in MessagePack: what of sections 1 and 5 of docs/protocol.md its codec decides."""

from typing import Any

import msgpack
import pytest

from notifications.protocol.codec import MSGPACK
from notifications.protocol.conversation import ServerConversation
from notifications.protocol.limits import AUTH_BYTES, FRAME_BYTES
from notifications.protocol.states import State
from tests.protocol.conversations import AUTH as AUTH_TEXT
from tests.protocol.conversations import SUCCESS
from tests.protocol.packing import pack_text
from tests.protocol.test_conversation import brief

AUTH = pack_text(AUTH_TEXT)
PING = msgpack.packb({"type": "ping"})


def auth_of(size: int) -> bytes:
    """An auth of a size, a key that nobody knows making it up."""
    bare = {"type": "auth", "token": "t", "clientId": "c", "x": "y" * 256}
    missing = size - len(msgpack.packb(bare))
    packed = msgpack.packb({**bare, "x": "y" * (256 + missing)})
    assert isinstance(packed, bytes)
    assert len(packed) == size
    return packed


FIRST = [
    ("auth", AUTH, [("Authenticate", "Auth")]),
    ("auth of 8 KiB", auth_of(AUTH_BYTES), [("Authenticate", "Auth")]),
    ("over 8 KiB", auth_of(AUTH_BYTES + 1), [4502]),
    ("64 KiB", auth_of(FRAME_BYTES), [4502]),
    ("over 64 KiB", auth_of(FRAME_BYTES + 1), [1009]),
    ("text", AUTH_TEXT, [4502]),
    ("text over 64 KiB", "x" * (FRAME_BYTES + 1), [1009]),
    ("another frame", PING, [4502]),
    ("undecodable", b"\xc1", [4502]),
    ("JSON in binary", AUTH_TEXT.encode(), [4502]),
    ("nothing", b"", [4502]),
    ("an array", msgpack.packb([{"type": "auth", "token": "t", "clientId": "c"}]), [4502]),
    ("no token", msgpack.packb({"type": "auth", "clientId": "c"}), [("BAD_FRAME", None), 4501]),
    (
        "a token that is binary",
        msgpack.packb({"type": "auth", "token": b"t", "clientId": "c", "id": 3}),
        [("BAD_FRAME", 3), 4501],
    ),
]


@pytest.mark.parametrize(("data", "actions"), [row[1:] for row in FIRST], ids=[r[0] for r in FIRST])
def test_the_first_message(data: str | bytes, actions: list[Any]) -> None:
    conversation = ServerConversation(MSGPACK)
    assert brief(conversation.receive(data, now=0.0)) == actions
    if actions[0] == ("Authenticate", "Auth"):
        assert brief(conversation.authenticated(SUCCESS)) == ["AuthSuccess"]


@pytest.fixture
def conversation() -> ServerConversation:
    conversation = ServerConversation(MSGPACK)
    conversation.receive(AUTH, now=0.0)
    conversation.authenticated(SUCCESS)
    return conversation


OPEN = [
    ("a frame", PING, [("Request", "Ping")]),
    ("a batch", msgpack.packb([{"type": "ping"}] * 2), [("Request", "Ping")] * 2),
    ("text", '{"type":"ping"}', [1003]),
    ("too large", b"\xc4" * (FRAME_BYTES + 1), [1009]),
    ("undecodable", b"\xc1", [("BAD_FRAME", None)]),
    ("a second auth", AUTH, [("BAD_FRAME", "a-1")]),
]


@pytest.mark.parametrize(("data", "actions"), [row[1:] for row in OPEN], ids=[r[0] for r in OPEN])
def test_a_message_once_it_is_open(
    conversation: ServerConversation, data: str | bytes, actions: list[Any]
) -> None:
    assert brief(conversation.receive(data, now=1.0)) == actions
    closes = isinstance(actions[0], int)
    assert conversation.state is (State.CLOSED if closes else State.OPEN)


def test_the_tenth_fault_of_a_minute_closes(conversation: ServerConversation) -> None:
    for second in range(9):
        assert brief(conversation.receive(b"\xc1", now=float(second))) == [("BAD_FRAME", None)]
    foreign = msgpack.packb({"type": "publish", "id": 1, "topic": "a", "payload": b"x"})
    assert brief(conversation.receive(foreign, now=9.0)) == [("BAD_FRAME", 1)], "not counted"
    closing = [("BAD_FRAME", None), ("disconnect", 4500), 4500]
    assert brief(conversation.receive(b"\xc1", now=9.0)) == closing
