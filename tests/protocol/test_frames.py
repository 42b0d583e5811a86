"""The frames against the shared vectors, and against docs/protocol.md's rules for all of them."""

import json
from typing import Any, get_args

import msgspec
import pytest

from notifications.protocol import frames
from notifications.protocol.codec import JsonCodec
from notifications.protocol.frames import ClientFrame, ServerFrame
from notifications.protocol.refusals import Refusal
from tests.protocol.vectors import CLIENT_ROWS, SERVER_ROWS, text_of

CODEC = JsonCodec()
SERVER_DECODER = msgspec.json.Decoder(ServerFrame)


def name_of(row: dict[str, Any]) -> str:
    return str(row["name"])


def fields_of(frame: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(frame))


def check(decoded: Any, expected: dict[str, Any]) -> None:
    """Compare one frame's outcome with a row, or with one element of its batch."""
    if "error" in expected:
        assert isinstance(decoded, Refusal)
        assert decoded.error.code == expected["error"]
        assert decoded.id == expected.get("id")
        assert type(decoded.id) is type(expected.get("id"))
        assert decoded.is_structural is expected.get("structural", False)
        if "field" in expected:
            assert f"`{expected['field']}`" in decoded.error.message
        return
    assert not isinstance(decoded, Refusal), decoded
    if "frame" in expected:
        assert fields_of(decoded) == expected["frame"]
    if "payloadText" in expected:
        assert bytes(decoded.payload).decode() == expected["payloadText"]


@pytest.mark.parametrize("row", CLIENT_ROWS, ids=name_of)
@pytest.mark.parametrize("kind", [str, bytes])
def test_client_frames(row: dict[str, Any], kind: type) -> None:
    text = text_of(row)
    decoded = CODEC.decode_inbound(text if kind is str else text.encode())
    if "batch" in row:
        assert isinstance(decoded, list)
        for element, expected in zip(decoded, row["batch"], strict=True):
            check(element, expected)
    else:
        check(decoded, row)


@pytest.mark.parametrize("row", SERVER_ROWS, ids=name_of)
def test_server_frames(row: dict[str, Any]) -> None:
    text = text_of(row)
    frame = SERVER_DECODER.decode(text)
    assert fields_of(frame) == row["frame"]
    if row.get("exact", True):
        assert CODEC.encode(frame).decode() == text


@pytest.mark.parametrize(
    ("rows", "union"), [(CLIENT_ROWS, ClientFrame), (SERVER_ROWS, ServerFrame)]
)
def test_every_type_has_a_row(rows: list[dict[str, Any]], union: Any) -> None:
    types = {row["frame"]["type"] for row in rows if "frame" in row}
    assert types == {frame.__struct_config__.tag for frame in get_args(union)}


RECORDS = [
    record
    for record in vars(frames).values()
    if isinstance(record, type) and issubclass(record, msgspec.Struct)
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_frozen_and_document_each_field(record: type[msgspec.Struct]) -> None:
    assert record.__struct_config__.frozen
    assert record.__doc__ is not None
    described = record.__doc__.split("\n\n", 1)[1]
    for field in record.__struct_fields__:
        assert field in described


def test_every_frame_is_under_the_roof() -> None:
    assert {*get_args(ClientFrame), *get_args(ServerFrame)} <= set(RECORDS)
    assert {record.__name__ for record in RECORDS} <= set(frames.__all__)
