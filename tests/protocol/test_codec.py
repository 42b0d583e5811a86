"""The JSON codec: total on any input, exact on output, and how a subprotocol is chosen."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.errors import BadFrame, NotificationError, UnknownType
from notifications.protocol.codec import (
    DEFAULT_SUBPROTOCOL,
    SUBPROTOCOLS,
    JsonCodec,
    choose_subprotocol,
)
from notifications.protocol.frames import Message, Ping, Publish
from notifications.protocol.limits import MAX_DEPTH, within_structure
from notifications.protocol.refusals import Refusal
from tests.protocol.json_values import mutilated, texts

CODEC = JsonCodec()


@given(
    st.text()
    | texts
    | mutilated()
    | st.binary()
    | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example("\ud800")
@example('{"type":"ping","x":"\ud800"}')
@example(b'{"type":"subscribe","id":1,"topic":"\xff"}')
@example('{"type":"ping","type":"subscribe"}')
@example('{"type":"auth","token":"t","clientId":"c","resume":{"cursor":1e999},"resume":5}')
@example('{"type":"auth","token":"t","clientId":"c","resume":{"cursor":1e999},"resume":"\\u0000"}')
@example('{"type":"ping","x":' + "[" * 990 + "]" * 990 + "}")
@example('{"type":"subscribe","options":{"filter":' + "[" * 5000 + "]" * 5000 + "}}")
def test_any_input_is_a_frame_or_a_notification_error(data: str | bytes) -> None:
    try:
        frame = CODEC.decode_client(data)
    except NotificationError as error:
        refused: NotificationError | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.message
        assert refused.code in ("BAD_FRAME", "UNKNOWN_TYPE", "BAD_CURSOR", "PAYLOAD_TOO_LARGE")
        return
    assert within_structure(msgspec.json.encode(frame), depth=MAX_DEPTH)
    if isinstance(frame, Publish):
        json.loads(bytes(frame.payload).decode())


@given(texts | mutilated())
def test_text_and_its_bytes_are_one(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert described(CODEC.decode_inbound(text)) == described(CODEC.decode_inbound(data))


def described(decoded: Any) -> Any:
    """Return what can be compared: exceptions and Raw compare by identity."""
    if isinstance(decoded, list):
        return [described(element) for element in decoded]
    if isinstance(decoded, Refusal):
        return decoded.error.code, decoded.error.message, decoded.id, decoded.is_structural
    return msgspec.json.encode(decoded)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ('{"type":"subscribe","id":1}', BadFrame, "Send `topic` as text"),
        ('{"type":"shout"}', UnknownType, "Send one of the types"),
        ('[{"type":"ping"}]', BadFrame, "Send one frame, not a batch"),
    ],
)
def test_decode_client_raises(data: str, error: type[NotificationError], text: str) -> None:
    with pytest.raises(error, match=text):
        CODEC.decode_client(data)


def test_text_that_no_utf_8_can_write_is_undecodable() -> None:
    refusal = CODEC.decode_inbound('{"type":"ping","x":"\ud800"}')
    assert isinstance(refusal, Refusal)
    assert refusal.is_structural


def test_decode_client_returns_a_frame() -> None:
    assert CODEC.decode_client('{"type":"ping","t":1}') == Ping(t=1)


def test_a_payload_keeps_no_hold_on_its_message() -> None:
    frame = CODEC.decode_client('{"type":"publish","id":1,"topic":"a","payload":[1]}')
    assert isinstance(frame, Publish)
    assert frame.payload.copy() is frame.payload  # a view into a larger buffer would be copied


STORED: dict[str, Any] = {
    "message_id": "01946b2e-3c00-7000-8000-000000000001",
    "topic": "user.123.orders",
    "payload": '{"n":1.50}',
    "timestamp": 1_893_456_000_050,
}
LEAST = (
    '{"type":"message","id":"01946b2e-3c00-7000-8000-000000000001","topic":"user.123.orders",'
    '"payload":{"n":1.50},"timestamp":"2030-01-01T00:00:00.050Z"'
)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, ""),
        ({"payload": b'{"n":1.50}'}, ""),
        ({"seq": 7, "position": (0, 1523)}, ',"seq":7,"position":[0,1523]'),
        ({"metadata": '{"priority":"high"}'}, ',"metadata":{"priority":"high"}'),
        ({"metadata": b'{"source":"a"}', "seq": 1}, ',"metadata":{"source":"a"},"seq":1'),
        ({"replayed": True}, ',"replayed":true'),
        ({"replayed": False}, ""),
    ],
)
def test_encode_message_writes_what_its_record_would(more: dict[str, Any], text: str) -> None:
    encoded = CODEC.encode_message(**{**STORED, **more})
    assert encoded.decode() == LEAST + text + "}"
    assert CODEC.encode(msgspec.json.decode(encoded, type=Message)) == encoded


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["notifications.v1.json"], "notifications.v1.json"),
        (["chat", "notifications.v1.json"], "notifications.v1.json"),
        (["notifications.v1.json", "chat"], "notifications.v1.json"),
        (["notifications.v1.msgpack"], "notifications.v1.msgpack"),
        (["notifications.v1.msgpack", "notifications.v1.json"], "notifications.v1.msgpack"),
        (["notifications.v1.json", "notifications.v1.msgpack"], "notifications.v1.json"),
    ],
)
def test_the_first_known_subprotocol_is_chosen(offered: list[str], chosen: str | None) -> None:
    assert choose_subprotocol(offered) == chosen


@pytest.mark.parametrize(
    "offered", [["chat"], [""], ["NOTIFICATIONS.V1.JSON"], ["notifications.v2.msgpack"]]
)
def test_unknown_subprotocols_are_refused(offered: list[str]) -> None:
    with pytest.raises(BadFrame, match=r"notifications\.v1\.json") as caught:
        choose_subprotocol(offered)
    assert caught.value.status == 400


def test_subprotocols_go_by_the_names_of_their_codecs() -> None:
    assert {name: codec.name for name, codec in SUBPROTOCOLS.items()} == {
        name: name for name in SUBPROTOCOLS
    }
    assert SUBPROTOCOLS[DEFAULT_SUBPROTOCOL].text
