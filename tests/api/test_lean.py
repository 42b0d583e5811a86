"""The short way and the view answer alike: one table, sent through both."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client

from accounts.services import create_api_key, revoke_api_key
from notifications.api.bodies import BATCH_BYTES, SINGLE_BYTES
from notifications.api.lean import BATCH, SINGLE, LeanPublish
from notifications.database import in_database
from notifications.models import Message
from notifications.process import stop_process

pytestmark = pytest.mark.django_db(transaction=True)

Answer = tuple[int, dict[str, str], Any]
Ask = Callable[..., Awaitable[Answer]]


async def never(*_: Any) -> None:
    raise AssertionError("this request takes the short way")


@pytest.fixture
async def key() -> AsyncIterator[str]:
    _, text = await in_database(create_api_key, name="test", publish=["a.*"], subscribe=["a.*"])
    yield text
    await stop_process()


async def ask_lean(path: str, body: bytes, headers: dict[str, str], *, app: Any = never) -> Answer:
    sent: list[dict[str, Any]] = []
    half = len(body) // 2
    events = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ]

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [
            (b"host", b"testserver"),
            *((k.lower().encode(), v.encode()) for k, v in headers.items()),
        ],
    }
    await LeanPublish(app)(scope, receive, send)
    answered = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], answered, json.loads(sent[1]["body"])


async def ask_view(path: str, body: bytes, headers: dict[str, str]) -> Answer:
    def post() -> Any:
        try:
            return Client().post(
                path, data=body, content_type=headers["Content-Type"], headers=headers
            )
        finally:
            # Django's test client leaves the thread's connection open, and then the test
            # database cannot be dropped.
            connections.close_all()

    response = await sync_to_async(post)()
    return response.status_code, {k.lower(): v for k, v in response.items()}, response.json()


def stable(value: Any) -> Any:
    """Leave out what differs between any two messages."""
    if isinstance(value, list):
        return [stable(one) for one in value]
    if isinstance(value, dict):
        return {
            k: stable(v)
            for k, v in value.items()
            if k not in ("id", "seq", "position", "timestamp")
        }
    return value


ONE = {"topic": "a.b", "payload": {"x": 1}}
ROWS: list[tuple[str, str, Any, dict[str, str], int]] = [
    ("a message", SINGLE, ONE, {}, 201),
    ("with metadata", SINGLE, ONE | {"metadata": {"priority": "high"}}, {}, 201),
    ("not JSON", SINGLE, b"{nonsense", {}, 400),
    ("not UTF-8", SINGLE, b'{"topic":"a.b","payload":"\xff"}', {}, 400),
    ("no object", SINGLE, [], {}, 400),
    ("no payload", SINGLE, {"topic": "a.b"}, {}, 400),
    ("wrong type", SINGLE, ONE | {"topic": 7}, {}, 400),
    ("bad topic", SINGLE, ONE | {"topic": "a b"}, {}, 400),
    ("too deep", SINGLE, b'{"topic":"a.b","payload":' + b"[" * 99 + b"]" * 99 + b"}", {}, 400),
    ("forbidden", SINGLE, ONE | {"topic": "b.b"}, {}, 403),
    ("the server's own", SINGLE, ONE | {"topic": "$sys.b"}, {}, 403),
    ("payload too large", SINGLE, ONE | {"payload": "x" * 50_000}, {}, 413),
    ("body too large", SINGLE, b"[" + b" " * SINGLE_BYTES, {}, 413),
    ("wrong key", SINGLE, ONE, {"Authorization": "Api-Key bw_0_nonsense"}, 401),
    ("a key as a token", SINGLE, ONE, {"Authorization": "Bearer {key}"}, 401),
    ("wrong token", SINGLE, ONE, {"Authorization": "Bearer nonsense"}, 401),
    ("a batch", BATCH, {"messages": [ONE, ONE | {"topic": "b.b"}, {}, 7, ONE]}, {}, 200),
    ("an empty batch", BATCH, {"messages": []}, {}, 200),
    ("too many", BATCH, {"messages": [ONE] * 1001}, {}, 400),
    ("no batch", BATCH, ONE, {}, 400),
    ("batch too large", BATCH, b"[" + b" " * BATCH_BYTES, {}, 413),
    (
        "lines",
        BATCH,
        b'{"topic":"a.b","payload":1}\n\n{"topic":"a.b"}\nnonsense\n',
        {"Content-Type": "application/x-ndjson"},
        200,
    ),
]


@pytest.mark.parametrize(
    ("name", "path", "body", "headers", "status"), ROWS, ids=[row[0] for row in ROWS]
)
async def test_both_ways_answer_alike(
    key: str, name: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"} | headers
    sent["Authorization"] = sent["Authorization"].replace("{key}", key)
    lean = await ask_lean(path, data, sent)
    view = await ask_view(path, data, sent)
    assert lean[0] == view[0] == status
    assert stable(lean[2]) == stable(view[2])
    for header in ("content-type", "www-authenticate", "retry-after", "x-content-type-options"):
        assert lean[1].get(header) == view[1].get(header), header


async def test_a_retry_by_the_other_way_is_a_retry(key: str) -> None:
    data = json.dumps(ONE | {"idempotencyKey": "k"}).encode()
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    first = await ask_lean(SINGLE, data, headers)
    again = await ask_view(SINGLE, data, headers)
    other = await ask_lean(SINGLE, data.replace(b"1", b"2"), headers)
    assert (first[0], again[0], other[0]) == (201, 200, 409)
    assert again[2] == first[2] | {"duplicate": True}
    assert other[2]["code"] == "CONFLICT"
    assert await in_database(Message.objects.count) == 1


async def test_a_revoked_key_is_refused_at_once_in_this_process(key: str) -> None:
    lean = LeanPublish(never)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}

    async def ask() -> int:
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(ONE).encode()}

        async def send(event: dict[str, Any]) -> None:
            statuses.append(event.get("status", 0))

        scope = {
            "type": "http",
            "method": "POST",
            "path": SINGLE,
            "headers": [
                (b"host", b"testserver"),
                *((k.lower().encode(), v.encode()) for k, v in headers.items()),
            ],
        }
        await lean(scope, receive, send)
        return statuses[0]

    def revoke() -> None:
        from accounts.models import ApiKey

        revoke_api_key(ApiKey.objects.get(name="test"))

    assert await ask() == 201
    await in_database(revoke)
    assert await ask() == 401


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (SINGLE, {"Content-Type": "application/json"}),
        (SINGLE, {"Authorization": "Bearer x", "Content-Type": "text/plain"}),
        (SINGLE, {"Authorization": "Bearer x", "Content-Type": "application/x-ndjson"}),
        (SINGLE, {"Authorization": "Basic x", "Content-Type": "application/json"}),
        (
            SINGLE,
            {
                "Host": "evil.example",
                "Authorization": "Bearer x",
                "Content-Type": "application/json",
            },
        ),
        ("/api/v1/topics", {"Authorization": "Bearer x", "Content-Type": "application/json"}),
    ],
)
async def test_what_is_unusual_is_handed_on(path: str, headers: dict[str, str]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    assert (await ask_lean(path, b"{}", headers, app=application))[0] == 299
