import json
from typing import Any

import pytest

from notifications.api import publishing
from notifications.api.bodies import SINGLE_BYTES, decode_body
from notifications.errors import Overloaded, Unavailable
from notifications.log.group_commit import GroupCommit
from notifications.models import Message, Topic, TopicPolicy
from notifications.protocol.limits import PAYLOAD_BYTES
from notifications.services.policies import policies
from tests.api.conftest import Api

pytestmark = pytest.mark.django_db(transaction=True)

NDJSON = "application/x-ndjson"


def history(api: Api, topic: str) -> list[dict[str, Any]]:
    """What a reader gets, in its order."""
    messages: list[dict[str, Any]] = api.get(f"topics/{topic}/messages").json()["messages"]
    return messages


def test_a_publish_says_where_the_message_stands(api: Api) -> None:
    first, second = api.publish("a.b", {"n": 1}), api.publish("a.b", {"n": 2})
    assert (first.status_code, second.status_code) == (201, 201)
    assert set(first.json()) == {"id", "topic", "seq", "position", "timestamp"}
    assert (first.json()["seq"], second.json()["seq"]) == (1, 2)
    partition, offset = first.json()["position"]
    assert second.json()["position"] == [partition, offset + 1]
    stored = Message.objects.get(pk=first.json()["id"])
    assert (stored.topic.name, stored.payload, stored.publisher) == (
        "a.b",
        '{"n":1}',
        api.principal,
    )


def test_a_payload_is_kept_as_it_was_written_but_for_white_space(api: Api) -> None:
    api.post("publish", b'{"topic":"a.b", "payload": {"z":1.50, "a":[1e2, "\\u00fc"]}}')
    assert Message.objects.get().payload == '{"z":1.50,"a":[1e2,"\\u00fc"]}'


def test_null_is_a_payload(api: Api) -> None:
    assert api.publish("a.b", None).status_code == 201
    assert history(api, "a.b")[0]["payload"] is None


def test_metadata_travels_along(api: Api) -> None:
    metadata = {
        "priority": "high",
        "expiresAt": "2100-01-01T00:00:00+01:00",
        "correlationId": "c",
        "source": "s",
        "unknown": 1,
    }
    assert api.publish("a.b", 1, metadata=metadata).status_code == 201
    assert history(api, "a.b")[0]["metadata"] == {
        "priority": "high",
        "expiresAt": "2099-12-31T23:00:00.000Z",
        "correlationId": "c",
        "source": "s",
    }


def test_a_retry_is_answered_as_the_first_was(api: Api) -> None:
    first = api.publish("a.b", {"x": 1, "y": 2}, idempotencyKey="k")
    retry = api.publish("a.b", {"y": 2, "x": 1.0}, idempotencyKey="k")
    assert (first.status_code, retry.status_code) == (201, 200)
    assert retry.json() == first.json() | {"duplicate": True}
    other = api.publish("a.b", {"x": 2}, idempotencyKey="k")
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    assert Message.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "code", "detail"),
    [
        (b" ", 400, "BAD_FRAME", "JSON"),
        (b"{}", 400, "BAD_FRAME", "`topic`"),
        (b'{"topic":"a.b"}', 400, "BAD_FRAME", "`payload`"),
        (b'{"topic":5,"payload":1}', 400, "BAD_FRAME", "`topic`"),
        (b'{"topic":"a..b","payload":1}', 400, "BAD_TOPIC", "Segment 2"),
        (b'{"topic":"a.*","payload":1}', 400, "BAD_TOPIC", "wildcard"),
        (b'{"topic":"a.b","payload":1e999}', 400, "BAD_FRAME", "`payload`"),
        (b'{"topic":"a.b","payload":"\\ud800"}', 400, "BAD_FRAME", "JSON"),
        (b'{"topic":"a.b","payload":' + b"[" * 20 + b"]" * 20 + b"}", 400, "BAD_FRAME", "nested"),
        (b'{"topic":"a.b","payload":1,"metadata":[]}', 400, "BAD_FRAME", "`metadata`"),
        (b'{"topic":"b.b","payload":1}', 403, "FORBIDDEN", "grant"),
        (b'{"topic":"$sys.x","payload":1}', 403, "FORBIDDEN", "$sys"),
        (
            b'{"topic":"a.b","payload":"' + b"x" * PAYLOAD_BYTES + b'"}',
            413,
            "PAYLOAD_TOO_LARGE",
            "bytes",
        ),
        (b" " * 100_000, 413, "PAYLOAD_TOO_LARGE", "bytes"),
    ],
)
def test_refusals(api: Api, body: bytes, status: int, code: str, detail: str) -> None:
    answer = api.post("publish", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert detail in answer.json()["detail"]
    assert not Topic.objects.exists()


@pytest.mark.parametrize("path", ["publish", "publish/batch"])
def test_nothing_at_all_is_415(api: Api, path: str) -> None:
    assert api.post(path, b"").status_code == 415


@pytest.mark.parametrize("path", ["publish", "publish/batch"])
def test_another_content_type_is_415(api: Api, path: str) -> None:
    answer = api.post(
        path, b"topic=a.b&payload=1", content_type="application/x-www-form-urlencoded"
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "BAD_FRAME")


def test_the_largest_payload_fits(api: Api) -> None:
    assert api.publish("a.b", "x" * (PAYLOAD_BYTES - 2)).status_code == 201


def test_a_policy_bounds_payloads(api: Api) -> None:
    TopicPolicy.objects.create(pattern="a.small", payload_bytes=5)
    policies.refresh(max_age=0)
    assert api.publish("a.small", "1234").json()["code"] == "PAYLOAD_TOO_LARGE"
    assert api.publish("a.small", "123").status_code == 201


def test_an_ephemeral_message_has_no_place(api: Api) -> None:
    TopicPolicy.objects.create(pattern="a.e", ephemeral=True)
    policies.refresh(max_age=0)
    answer = api.publish("a.e", 1, idempotencyKey="k")
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "topic", "timestamp"}
    batch = api.post(
        "publish/batch", {"messages": [{"topic": t, "payload": 1} for t in ("a.e", "a.b")]}
    )
    first, second = batch.json()["results"]
    assert set(first) == {"status", "id", "topic", "timestamp"}
    assert (second["status"], second["seq"]) == (201, 1)
    assert Topic.objects.get().name == "a.b"


@pytest.mark.parametrize("error", [Unavailable, Overloaded])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("publish", {"topic": "a.b", "payload": 1}),
        ("publish/batch", {"messages": [{"topic": "a.b", "payload": 1}]}),
    ],
)
def test_without_the_log_there_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Any, path: str, body: Any
) -> None:
    class Refusing:
        def append(self, publications: Any) -> Any:
            raise error("Wait.", retry_after=1500)

    monkeypatch.setattr(publishing, "writer", Refusing)
    answer = api.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (503, error.code)
    assert answer["Retry-After"] == "2"


MIXED = [
    {"topic": "a.b", "payload": 1},
    {"topic": "b.b", "payload": 2},
    5,
    {"topic": "a.b", "payload": 3, "idempotencyKey": "k"},
    {"topic": "a.c", "payload": 4},
    {"topic": "a.b", "payload": 3, "idempotencyKey": "k"},
    {"topic": "a.b", "payload": 5, "idempotencyKey": "k"},
    {"topic": "a.*", "payload": 6},
    {"topic": "a.b", "payload": "x" * PAYLOAD_BYTES},
]


@pytest.mark.parametrize("is_json", [True, False])
def test_each_message_of_a_batch_stands_alone(api: Api, is_json: bool) -> None:
    if is_json:
        answer = api.post("publish/batch", {"messages": MIXED})
    else:
        lines = b"\n".join(json.dumps(message).encode() for message in MIXED)
        answer = api.post("publish/batch", lines, content_type=NDJSON)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(result["status"], result.get("code")) for result in results] == [
        (201, None),
        (403, "FORBIDDEN"),
        (400, "BAD_FRAME"),
        (201, None),
        (201, None),
        (200, None),
        (409, "CONFLICT"),
        (400, "BAD_TOPIC"),
        (413, "PAYLOAD_TOO_LARGE"),
    ]
    assert all(("message" in result) == (result["status"] >= 400) for result in results)
    assert results[5] == results[3] | {"status": 200, "duplicate": True}
    assert [message["payload"] for message in history(api, "a.b")] == [1, 3]
    assert (results[0]["seq"], results[3]["seq"], results[4]["seq"]) == (1, 2, 1)


def test_what_is_too_long_for_a_single_publish_is_not_decoded_in_a_batch(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counting(data: bytes, record: Any) -> Any:
        decoded.append(len(data))
        return decode_body(data, record)

    monkeypatch.setattr(publishing, "decode_body", counting)
    deep = b'{"topic":"a.b","payload":[' + b"[]," * (SINGLE_BYTES // 3) + b"1]}"
    lines = b"\n".join([deep, b'{"topic":"a.b","payload":1}'])
    answer = api.post("publish/batch", lines, content_type=NDJSON)
    first, second = answer.json()["results"]
    assert (first["status"], first["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert second["status"] == 201
    assert max(decoded) < SINGLE_BYTES


def test_a_line_that_is_no_json_stands_alone_too(api: Api) -> None:
    lines = b'{"topic":"a.b","payload":1}\nnonsense\n\n{"topic":"a.b","payload":2}\n'
    results = api.post("publish/batch", lines, content_type=NDJSON).json()["results"]
    assert [result["status"] for result in results] == [201, 400, 201]


def test_a_batch_is_one_submission(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = GroupCommit.append

    def counting(self: GroupCommit, publications: Any) -> Any:
        sizes.append(len(publications))
        return append(self, publications)

    monkeypatch.setattr(GroupCommit, "append", counting)
    messages = [{"topic": f"a.{number % 7}", "payload": number} for number in range(1000)]
    answer = api.post("publish/batch", {"messages": messages})
    assert [result["status"] for result in answer.json()["results"]] == [201] * 1000
    assert sizes == [1000]
    assert [message["payload"] for message in history(api, "a.3")[:3]] == [3, 10, 17]


@pytest.mark.parametrize("messages", [[], [{"topic": "b", "payload": 1}]])
def test_a_batch_of_which_nothing_is_left_asks_the_log_for_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, messages: list[Any]
) -> None:
    monkeypatch.setattr(publishing, "writer", None)
    answer = api.post("publish/batch", {"messages": messages})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == len(messages)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"messages":[', 400, "BAD_FRAME"),
        (b"[]", 400, "BAD_FRAME"),
        (b'{"messages":[' + b"1," * 1000 + b"1]}", 400, "BAD_FRAME"),
        (b'{"messages":["' + b"x" * 8 * 1024 * 1024 + b'"]}', 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_batches_that_are_refused_as_a_whole(api: Api, body: bytes, status: int, code: str) -> None:
    answer = api.post("publish/batch", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
