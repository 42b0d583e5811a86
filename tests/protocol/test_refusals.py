"""What a refusal says: what to do, which field, and nothing about the server's insides."""

import re
from typing import Any

import msgspec
import pytest

from notifications.protocol.codec import JsonCodec
from notifications.protocol.decoding import FORGIVEN
from notifications.protocol.frames import Resume
from notifications.protocol.refusals import (
    _EXPECTED,
    FRAMES,
    SERVED,
    Refusal,
    explain,
    replacing,
    unknown_type,
)
from tests.protocol.vectors import CLIENT_ROWS, text_of

CODEC = JsonCodec()
REFUSED = [row for row in CLIENT_ROWS if "error" in row]
# Words that only a Python or msgspec text would contain.
INSIDES = re.compile(
    r"\b(str|int|bool|dict|list|tuple|NoneType|null|Object missing|Expected|Invalid|Traceback"
    r"|msgspec|byte \d+|surrogates?|codec)\b"
)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["name"])
def test_messages_say_what_to_do_and_nothing_else(row: dict[str, Any]) -> None:
    refusal = CODEC.decode_inbound(text_of(row))
    assert isinstance(refusal, Refusal)
    message = refusal.error.message
    assert re.fullmatch(r"Send .*\.", message)
    assert len(message) < 160
    assert not INSIDES.search(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"type":"subscribe","topic":"a"}',
            "Send `id` as an integer below 2^53 or text of at most 64 characters.",
        ),
        (
            '{"type":"publish","id":1,"topic":"a","payload":1,"metadata":{"priority":1}}',
            "Send `metadata.priority` as one of low, normal, high, urgent.",
        ),
        (
            '{"type":"verify","id":1,"subscriptionIds":["a",2]}',
            "Send `subscriptionIds` as an array of text.",
        ),
        (
            '{"type":"subscribe","id":1,"topic":"a","options":{"filter":1e999}}',
            "Send `options.filter` as a filter tree.",
        ),
        # A type given twice is refused by its first, and looked up by its last.
        (
            '{"type":"ping","type":"subscribe","id":1}',
            "Send `type` as what the protocol describes.",
        ),
    ],
)
def test_wording(text: str, message: str) -> None:
    refusal = CODEC.decode_inbound(text)
    assert isinstance(refusal, Refusal)
    assert refusal.error.message == message


@pytest.mark.parametrize(("kind", "frame"), FRAMES.items())
def test_every_field_of_a_client_has_an_expectation(kind: str, frame: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(frame):
        assert (kind, field.encode_name) in _EXPECTED


def test_whatever_is_wrong_with_a_resume_is_forgiven() -> None:
    fields = msgspec.structs.fields(Resume)
    assert {("auth", f"resume.{field.encode_name}") for field in fields} <= set(FORGIVEN)


def test_unknown_types_are_told_the_served_ones() -> None:
    served = {kind for kind, frame in FRAMES.items() if frame in SERVED}
    assert set(unknown_type().message.removesuffix(".").split("types ")[1].split(", ")) == served


@pytest.mark.parametrize(
    ("data", "field", "result"),
    [
        (b'{"a":1}', "a", b'{"a":0}'),
        (b'{"a":{"b":1,"c":2}}', "a.c", b'{"a":{"b":1,"c":0}}'),
        (b'{"a":5}', "a.c", b'{"a":{"c":0}}'),
    ],
)
def test_replacing(data: bytes, field: str, result: bytes) -> None:
    assert replacing(data, field, b"0") == result


def test_text_that_only_the_record_found_undecodable_is_structural() -> None:
    # Unread, the bytes of a string are not looked into, so the second look finds nothing.
    refusal = explain(b'{"type":"subscribe","id":1,"topic":"\xff"}', ValueError("bad UTF-8"))
    assert refusal.is_structural
    assert refusal.id is None
