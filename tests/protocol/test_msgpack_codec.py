"""The MessagePack codec: as the JSON codec in all that is not notation, and total on any input."""

import json
import math
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from notifications.errors import NotificationError
from notifications.protocol.codec import JSON, MSGPACK
from notifications.protocol.frames import (
    AuthSuccess,
    HeldSubscription,
    Message,
    Ping,
    Publish,
    ServerFrame,
    SubscriptionOptions,
)
from notifications.protocol.limits import MAX_DEPTH, PAYLOAD_BYTES, within_structure
from notifications.protocol.msgpack_codec import pack_json
from notifications.protocol.refusals import Refusal
from tests.protocol.conversations import SUCCESS
from tests.protocol.json_values import frames, values, write
from tests.protocol.packing import Pairs, pack, pack_text
from tests.protocol.test_frames import check, name_of
from tests.protocol.vectors import CLIENT_ROWS, SERVER_ROWS, text_of

SIZES = {"payload of 48 KiB", "payload over 48 KiB"}
"""Rows about sizes that differ: the header of a long text takes three bytes, its quotes two."""


def is_packable(row: dict[str, Any]) -> bool:
    try:
        pack_text(text_of(row))
    except (ValueError, RecursionError):  # no JSON, so no MessagePack of it; or a lone surrogate
        return False
    return row["name"] not in SIZES


PACKABLE = [row for row in CLIENT_ROWS if is_packable(row)]


def test_most_rows_can_be_packed() -> None:
    left = {row["name"] for row in CLIENT_ROWS} - {row["name"] for row in PACKABLE}
    assert {name for name in left if not name.startswith("undecodable")} == SIZES | {
        "batch cut short",
        "30,000 levels",
        "30,000 levels, not closed",
    }


@pytest.mark.parametrize("row", PACKABLE, ids=name_of)
def test_client_frames(row: dict[str, Any]) -> None:
    expected = {key: value for key, value in row.items() if key != "payloadText"}
    decoded = MSGPACK.decode_inbound(pack_text(text_of(row)))
    if "batch" in expected:
        assert isinstance(decoded, list)
        for element, outcome in zip(decoded, expected["batch"], strict=True):
            check(element, outcome)
    else:
        check(decoded, expected)


@pytest.mark.parametrize("row", SERVER_ROWS, ids=name_of)
def test_server_frames(row: dict[str, Any]) -> None:
    frame = msgspec.json.decode(text_of(row), type=ServerFrame)
    packed = MSGPACK.encode(frame)
    assert msgpack.unpackb(packed) == row["frame"]
    if row.get("exact", True):
        assert packed == pack_text(text_of(row))


# --- Held against the JSON codec ------------------------------------------------------------------


def shared(value: Any) -> bool:
    """Tell whether both notations hold a value."""
    if isinstance(value, dict):
        return all(shared(key) and shared(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(shared, value))
    if isinstance(value, str):
        return value == value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def described(decoded: Any) -> Any:
    """Return what can be compared."""
    if isinstance(decoded, list):
        return [described(element) for element in decoded]
    if isinstance(decoded, Refusal):
        return decoded.error.code, decoded.error.message, decoded.id, decoded.is_structural
    return type(decoded), json.loads(msgspec.json.encode(decoded))


def listed(value: Any) -> Any:
    """Return a value as `pack` takes it."""
    if isinstance(value, dict):
        return Pairs((key, listed(one)) for key, one in value.items())
    return [listed(one) for one in value] if isinstance(value, list) else value


@given(frames | st.lists(frames, max_size=4) | values)
def test_a_message_means_what_it_means_in_json(value: Any) -> None:
    assume(shared(value))
    packed = pack(listed(value))
    assert described(MSGPACK.decode_inbound(packed)) == described(JSON.decode_inbound(write(value)))


@given(values)
def test_a_payload_comes_back_as_it_went(value: Any) -> None:
    assume(shared(value))
    sent = {"type": "publish", "id": 1, "topic": "a", "payload": value}
    frame = MSGPACK.decode_inbound(pack(listed(sent)))
    if isinstance(frame, Refusal):
        assert not within_structure(write(sent).encode())
        return
    assert isinstance(frame, Publish)
    stored = bytes(frame.payload)
    assert same(json.loads(stored), value)
    assert pack_json(stored) == pack(listed(value)), "types, order and signs of zero too"
    assert msgspec.json.format(stored, indent=-1) == stored, "compact"


def same(one: Any, other: Any) -> bool:
    return write(one) == write(other)


@given(values)
def test_every_payload_that_json_takes_can_be_packed(value: Any) -> None:
    frame = JSON.decode_inbound(write({"type": "publish", "id": 1, "topic": "a", "payload": value}))
    if isinstance(frame, Publish):
        packed = msgpack.unpackb(pack_json(frame.payload))
        assert packed == json.loads(bytes(frame.payload), parse_int=in_64_bits)


def in_64_bits(text: str) -> int | float:
    return int(text) if -(2**63) <= int(text) < 2**64 else float(text)


# --- Any input ------------------------------------------------------------------------------------


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Bytes that were MessagePack before some of them were lost, changed or put in."""
    value = draw(frames.filter(shared) | st.lists(frames.filter(shared), max_size=3))
    packed = pack(listed(value))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(packed)))
        until = draw(st.integers(at, min(len(packed), at + 8)))
        packed = packed[:at] + draw(st.binary(max_size=4)) + packed[until:]
    return packed


@given(st.binary() | mutilated() | st.text())
@example(b"")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x91" * 30_000)
@example(b"\x81\xa1x" + b"\x91" * 30_000 + b"\xc0")
@example(b"\x81\xa1x" + b"\x81\xc0" * 30_000 + b"\xc0")
@example(b"\x81\x80\x01")
@example(b"\x82\xa4type\xa4ping\xa1x\xc7\x0c\xff" + b"\xff" * 12)
@example(b"\x82\xa4type\xa4ping\xa1x\xc1")
def test_any_input_is_a_frame_or_a_notification_error(data: bytes | str) -> None:
    try:
        frame = MSGPACK.decode_client(data)
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
        json.loads(bytes(frame.payload))


UNDECODABLE = [
    b"",
    b"\xc1",
    b"{}",
    b'{"type":"ping"}',
    b"\x81\xa4type",
    b"\x81\xa4type\xa4ping\xc0",
    b"\x82\xa4type\xa4ping\xa1x\xa1\xff",
    b"\x82\xa4type\xa4ping\xa1x\xa3\xed\xa0\x80",
    b"\x91\x81\xa4type",
    b"\x81\xa1x" + b"\x81\x80\x01",
]


@pytest.mark.parametrize("data", UNDECODABLE)
def test_what_does_not_decode(data: bytes) -> None:
    refusal = MSGPACK.decode_inbound(data)
    assert isinstance(refusal, Refusal)
    assert (refusal.error.code, refusal.id, refusal.is_structural) == ("BAD_FRAME", None, True)
    assert refusal.error.message.startswith("Send ")


def test_it_says_in_which_notation() -> None:
    refusal = MSGPACK.decode_inbound(b"\xc1")
    assert isinstance(refusal, Refusal)
    assert refusal.error.message == (
        "Send well-formed MessagePack, with text in UTF-8 and text as keys."
    )


FOREIGN = {
    "binary": b"x",
    "an extension type": msgpack.ExtType(5, b"x"),
    "a timestamp": msgpack.Timestamp(1, 2),
    "NaN": math.nan,
    "infinity": math.inf,
    "a key that is a number": {1: 2},
    "a key that is nil": {None: 2},
    "a key that is binary": {b"a": 2},
}


@pytest.mark.parametrize("part", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("nest", [lambda part: part, lambda part: {"a": [1, {"b": part}]}])
class TestWhatJsonCannotHold:
    """It is refused where it counts, with the id; and ignored where it does not."""

    def test_in_a_payload(self, part: Any, nest: Any) -> None:
        sent = {"type": "publish", "id": 7, "topic": "a", "payload": nest(part)}
        refusal = MSGPACK.decode_inbound(msgpack.packb(sent))
        assert isinstance(refusal, Refusal)
        assert (refusal.error.code, refusal.id, refusal.is_structural) == ("BAD_FRAME", 7, False)
        assert refusal.error.message == (
            "Send `payload` as what JSON can hold too: no binary, no extension types,"
            " only finite numbers, and text as keys."
        )

    def test_in_another_field(self, part: Any, nest: Any) -> None:
        sent = {"type": "subscribe", "id": 7, "topic": "a", "options": {"filter": nest(part)}}
        refusal = MSGPACK.decode_inbound(msgpack.packb(sent))
        assert isinstance(refusal, Refusal)
        assert (refusal.error.code, refusal.id, refusal.is_structural) == ("BAD_FRAME", 7, False)
        assert "`options.filter`" in refusal.error.message

    def test_in_a_cursor_it_never_costs_the_authentication(self, part: Any, nest: Any) -> None:
        resume = {"sessionId": "s", "cursor": {"epoch": "e", "offsets": nest(part)}}
        sent = {"type": "auth", "token": "t", "clientId": "c", "resume": resume}
        frame = MSGPACK.decode_client(msgpack.packb(sent))
        assert json.loads(msgspec.json.encode(frame)) == {
            **sent,
            "resume": {"sessionId": "s", "cursor": {}},
        }

    def test_in_an_unknown_key(self, part: Any, nest: Any) -> None:
        sent = {"type": "ping", "t": 1, "later": nest(part)}
        assert MSGPACK.decode_client(msgpack.packb(sent)) == Ping(t=1)


def test_a_frame_with_a_key_that_is_no_text() -> None:
    refusal = MSGPACK.decode_inbound(msgpack.packb({"type": "ping", 5: 1}))
    assert isinstance(refusal, Refusal)
    assert (refusal.error.message, refusal.is_structural) == (
        "Send frames whose keys are text.",
        True,
    )


def test_nobody_can_make_the_server_look_for_long() -> None:
    small: Any = {"type": "ping", "x": [[]] * 3_900 + [b"x"]}
    assert MSGPACK.decode_inbound(msgpack.packb(small)) == Ping()
    large = {"type": "publish", "id": 1, "topic": "a", "payload": [[]] * 4_000 + [b"x"]}
    refusal = MSGPACK.decode_inbound(msgpack.packb(large))
    assert isinstance(refusal, Refusal)
    assert (refusal.error.message, refusal.id, refusal.is_structural) == (
        "Send what JSON can hold too: no binary, no extension types, only finite numbers,"
        " and text as keys.",
        None,
        True,
    )
    deep = MSGPACK.decode_inbound(msgpack.packb(publish_of(nested(12, [1] * 40_000))))
    assert isinstance(deep, Publish), "it is only deep"
    deep = MSGPACK.decode_inbound(msgpack.packb(publish_of(nested(12, [[]] * 15_900))))
    assert isinstance(deep, Publish)
    deep = MSGPACK.decode_inbound(msgpack.packb(publish_of(nested(12, [[]] * 16_000))))
    assert isinstance(deep, Refusal)
    assert deep.error.message.startswith("Send at most 16,000 objects and arrays in a frame")
    flat = MSGPACK.decode_inbound(msgpack.packb(publish_of([[]] * 40_000)))
    assert isinstance(flat, Publish)


# --- Bounds ---------------------------------------------------------------------------------------


def publish_of(payload: Any) -> Any:
    return {"type": "publish", "id": 1, "topic": "a", "payload": payload}


@pytest.mark.parametrize("size", [PAYLOAD_BYTES, PAYLOAD_BYTES + 1])
def test_the_payload_is_counted_as_it_was_packed(size: int) -> None:
    text = "x" * (size - 3)
    assert len(msgpack.packb(text)) == size
    frame = MSGPACK.decode_inbound(msgpack.packb(publish_of(text)))
    if size <= PAYLOAD_BYTES:
        assert isinstance(frame, Publish)
        return
    assert isinstance(frame, Refusal)
    assert (frame.error.code, frame.id) == ("PAYLOAD_TOO_LARGE", 1)
    assert frame.error.message == (
        "Send at most 49,152 bytes of MessagePack as `payload`; this one has 49,153."
    )
    assert frame.error.data == {"payloadBytes": PAYLOAD_BYTES}


def test_its_json_may_be_longer() -> None:
    payload = ["\n" * 40_000]
    frame = MSGPACK.decode_client(msgpack.packb(publish_of(payload)))
    assert isinstance(frame, Publish)
    assert len(bytes(frame.payload)) > PAYLOAD_BYTES
    assert json.loads(bytes(frame.payload)) == payload


def nested(levels: int, core: Any, *, in_maps: bool = False) -> Any:
    for _ in range(levels):
        core = {"a": core} if in_maps else [core]
    return core


@pytest.mark.parametrize("in_maps", [False, True])
@pytest.mark.parametrize("core", [1, b"x"], ids=["plain", "with something foreign"])
@pytest.mark.parametrize("levels", range(3, 20))
def test_depth_is_exact(levels: int, core: Any, in_maps: bool) -> None:
    sent = {"type": "ping", "x": nested(levels - 1, core, in_maps=in_maps)}
    decoded = MSGPACK.decode_inbound(msgpack.packb(sent))
    if levels <= MAX_DEPTH:
        assert decoded == Ping()
    else:
        assert isinstance(decoded, Refusal)
        assert "nested at most 16 levels" in decoded.error.message


@pytest.mark.parametrize("levels", [1, 4, 9])
@pytest.mark.parametrize("keys", [256, 257])
def test_keys_are_counted_in_each_object(levels: int, keys: int) -> None:
    wide = nested(levels, {f"k{n}": n for n in range(keys)})
    decoded = MSGPACK.decode_inbound(msgpack.packb({"type": "ping", "x": [wide, b"x"]}))
    assert isinstance(decoded, Refusal) is (keys > 256)


# --- What goes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.50", 1.5),
        ("1e2", 100.0),
        ("-0.0", -0.0),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("[123456789012345678901234567890]", [123456789012345678901234567890.0]),
        ('{"n":1' + "0" * 400 + "}", {"n": math.inf}),
        ("-1" + "0" * 400, -math.inf),
        ("5e-324", 5e-324),
        ("1e-400", 0.0),
        ('{"b":1,"a":2,"b":3}', {"b": 3, "a": 2}),
        ('"\\ud83d\\ude00\\u0000"', "😀\0"),
        ("null", None),
    ],
)
def test_what_a_payload_becomes(text: str, value: Any) -> None:
    unpacked = msgpack.unpackb(pack_json(text))
    assert (unpacked, type(unpacked)) == (value, type(value))
    assert same(unpacked, value)
    message = MSGPACK.encode_message(message_id="m", topic="a", payload=text, timestamp=0)
    assert same(msgpack.unpackb(message)["payload"], value)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"seq": 7, "position": (0, 1523)},
        {"metadata": '{"priority":"high"}'},
        {"replayed": True, "metadata": b'{"source":"a"}'},
    ],
)
def test_encode_message_writes_what_its_record_would(more: dict[str, Any]) -> None:
    parts = {"message_id": "m", "topic": "a.b", "payload": '{"n":1.50}', "timestamp": 50, **more}
    text = JSON.encode_message(**parts)
    packed = MSGPACK.encode_message(**parts)
    assert packed == pack_text(text.decode())
    assert packed == MSGPACK.encode(msgspec.json.decode(text, type=Message))


def test_numbers_beyond_64_bits_in_options_are_no_defect() -> None:
    since = {"epoch": "x", "offsets": {"0": 10**30}}
    held = HeldSubscription(
        subscription_id="s", topic="a", options=SubscriptionOptions(since=since), created_at="t"
    )
    success: AuthSuccess = msgspec.structs.replace(SUCCESS, subscriptions=(held,))
    unpacked = msgpack.unpackb(MSGPACK.encode(success))
    assert unpacked["subscriptions"][0]["options"] == {
        "since": {"epoch": "x", "offsets": {"0": 1e30}}
    }
    assert unpacked["cursor"] == {"epoch": "e", "offsets": {}}


def test_text_that_looks_like_what_json_cannot_hold_is_text() -> None:
    frame = MSGPACK.decode_client(msgpack.packb(publish_of({"1e999": ["1e999", 1e300]})))
    assert isinstance(frame, Publish)
    assert json.loads(bytes(frame.payload)) == {"1e999": ["1e999", 1e300]}
