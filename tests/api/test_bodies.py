import tracemalloc
from io import BytesIO
from typing import Any

import msgspec
import pytest
from django.test import RequestFactory
from rest_framework.exceptions import UnsupportedMediaType

from notifications.api.bodies import (
    BATCH_MESSAGES,
    NDJSON,
    SINGLE_BYTES,
    BoundedJsonParser,
    PublishBody,
    decode_body,
    decode_query,
    messages_of,
    read_body,
)
from notifications.api.topics import MessagesQuery
from notifications.errors import BadFrame, PayloadTooLarge


def request(body: bytes, content_type: str = "application/json", **meta: Any) -> Any:
    return RequestFactory().generic("POST", "/", body, content_type=content_type, **meta)


def test_a_payload_keeps_the_publishers_bytes() -> None:
    body = decode_body(b'{"topic":"a","payload": {"b":1.50, "a":1e2} ,"new":[]}', PublishBody)
    assert bytes(body.payload) == b'{"b":1.50, "a":1e2}'


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "Send well-formed JSON in UTF-8."),
        (b"{", "Send well-formed JSON in UTF-8."),
        (b'{"topic":"\xff","payload":1}', "Send well-formed JSON in UTF-8."),
        (b"[" * 100_000, "Send a JSON object."),
        (b'{"x":' * 100_000, "Send well-formed JSON in UTF-8."),
        (b"[]", "Send a JSON object."),
        (b"7", "Send a JSON object."),
        (b'{"topic":"a"}', "Send `payload` as any JSON value."),
        (b'{"payload":1}', "Send `topic` as text: a topic or, to subscribe, a pattern."),
        (
            b'{"topic":"a","payload":1,"metadata":{"priority":"soon"}}',
            "Send `metadata.priority` as one of low, normal, high, urgent.",
        ),
        (
            b'{"topic":"a","payload":1,"metadata":{"expiresAt":"soon"}}',
            "Send `metadata.expiresAt` as an RFC 3339 time, such as 2030-01-31T12:00:00.000Z.",
        ),
        (
            b'{"topic":"a","payload":1,"idempotencyKey":""}',
            "Send `idempotencyKey` as text of 1 to 128 characters, without U+0000.",
        ),
    ],
)
def test_faults_name_the_field(text: bytes, detail: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_body(text, PublishBody)
    assert caught.value.message == detail


@pytest.mark.parametrize("field", ["metadata", "idempotencyKey"])
def test_null_counts_as_absent(field: str) -> None:
    body = decode_body(b'{"topic":"a","payload":null,"%s":null}' % field.encode(), PublishBody)
    assert bytes(body.payload) == b"null"
    assert (body.metadata, body.idempotency_key) == (None, None)


@pytest.mark.parametrize(
    ("query", "decoded"),
    [
        ({}, MessagesQuery()),
        ({"after": "", "limit": ""}, MessagesQuery()),
        (
            {"after": "7", "before": "9", "limit": "1000", "order": "desc", "x": "y"},
            MessagesQuery(after=7, before=9, limit=1000, order="desc"),
        ),
    ],
)
def test_queries(query: dict[str, str], decoded: MessagesQuery) -> None:
    assert decode_query(query, MessagesQuery) == decoded


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"limit": "0"}, "Send `limit` as a whole number from 1 to 1,000."),
        ({"limit": "1001"}, "Send `limit` as a whole number from 1 to 1,000."),
        ({"limit": "many"}, "Send `limit` as a whole number from 1 to 1,000."),
        ({"after": "-1"}, "Send `after` as a whole number, the seq of a message."),
        ({"after": str(2**63)}, "Send `after` as a whole number, the seq of a message."),
        ({"order": "up"}, "Send `order` as asc or desc."),
    ],
)
def test_faults_name_the_parameter(query: dict[str, str], detail: str) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_query(query, MessagesQuery)
    assert caught.value.message == detail


def test_a_body_is_read_up_to_its_bound() -> None:
    assert read_body(request(b"x" * 10), most=10) == b"x" * 10
    with pytest.raises(PayloadTooLarge):
        read_body(request(b"x" * 11), most=10)


def test_a_bound_holds_where_no_length_is_declared() -> None:
    undeclared = request(b"x" * 11)
    undeclared.META.pop("CONTENT_LENGTH")
    with pytest.raises(PayloadTooLarge):
        read_body(undeclared, most=10)


def test_a_declared_length_is_refused_unread() -> None:
    declared = request(b"x" * 11)
    with pytest.raises(PayloadTooLarge):
        read_body(declared, most=10)
    assert declared.read() == b"x" * 11


@pytest.mark.parametrize(
    ("content_type", "is_taken"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
def test_content_types(content_type: str, is_taken: bool) -> None:
    if is_taken:
        assert read_body(request(b"{}", content_type), most=10) == b"{}"
        return
    with pytest.raises(UnsupportedMediaType, match="application/json"):
        read_body(request(b"{}", content_type), most=10)


@pytest.mark.parametrize(
    ("data", "media_type", "messages"),
    [
        (b'{"messages":[]}', "application/json", []),
        (b'{"messages":[1, {"a": 2}]}', "application/json", [b"1", b'{"a": 2}']),
        (b"", NDJSON, []),
        (b'\n{"a":1}\r\n\n  [\n', NDJSON, [b'{"a":1}', b"["]),
        (b"1\n" * BATCH_MESSAGES, NDJSON, [b"1"] * BATCH_MESSAGES),
    ],
)
def test_batches_are_cut_into_messages(data: bytes, media_type: str, messages: list[bytes]) -> None:
    assert messages_of(data, media_type) == messages


@pytest.mark.parametrize(
    "elements",
    [
        [],
        [b"1"],
        [b"1", b'{"a": [1, 2]}', b'"\\u00fc,]"', b"null", b"-0.5e3", '"ü"'.encode()],
        [b"1" * 5_000, b"[[[]]]"],
        [b"1"] * BATCH_MESSAGES,
    ],
)
@pytest.mark.parametrize("space", [b"", b" \r\n\t"])
def test_an_array_is_cut_into_the_text_of_its_elements(elements: list[bytes], space: bytes) -> None:
    array = b"[" + space + (space + b"," + space).join(elements) + space + b"]"
    assert messages_of(b'{"messages":' + array + b"}", "application/json") == elements


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b'{"messages":[' + b"1," * 500_000 + b"1]}", "application/json"),
        (b'{"messages":[' + b"[]," * 300_000 + b"1]}", "application/json"),
        (b"1\n" * 500_000, NDJSON),
    ],
    ids=["numbers", "arrays", "lines"],
)
def test_a_huge_batch_is_cut_no_further_than_it_is_allowed(data: bytes, media_type: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame, match="at most 1,000"):
            messages_of(data, media_type)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * len(data) + 500_000, "an object for each element takes more"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b'{"messages":[' + b"1," * BATCH_MESSAGES + b"1]}", "application/json"),
        (b"1\n" * (BATCH_MESSAGES + 1), NDJSON),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (b'{"messages":{}}', "application/json"),
        (b'{"messages":[1,]}', "application/json"),
    ],
)
def test_batches_that_are_none(data: bytes, media_type: str) -> None:
    with pytest.raises(BadFrame):
        messages_of(data, media_type)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b'"\\ud800"', b"\xff", b"[" * 50_000, b'{"a":1}{}']
)
def test_the_parser_of_serializers_refuses_what_is_no_json(data: bytes) -> None:
    with pytest.raises(BadFrame):
        BoundedJsonParser().parse(BytesIO(data), parser_context={"request": request(data)})


def test_the_parser_of_serializers_has_a_bound() -> None:
    data = msgspec.json.encode("x" * SINGLE_BYTES)
    with pytest.raises(PayloadTooLarge):
        BoundedJsonParser().parse(BytesIO(data), parser_context={"request": request(data)})
    assert BoundedJsonParser().parse(
        BytesIO(b"[1]"), parser_context={"request": request(b"[1]")}
    ) == [1]
