"""What is posted by the batch, and more than is taken."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.load.flooding import batch_body, burst, post_batches, taken_of

PAYLOAD = 310


def test_a_batch_has_its_messages_in_both_forms() -> None:
    array = batch_body(["a", "b"], messages=5, payload_bytes=PAYLOAD)
    lines = batch_body(["a", "b"], messages=5, payload_bytes=PAYLOAD, ndjson=True)
    messages = json.loads(array)["messages"]
    assert [one["topic"] for one in messages] == ["a", "b", "a", "b", "a"]
    assert {len(json.dumps(one["payload"], separators=(",", ":"))) for one in messages} == {PAYLOAD}
    assert [json.loads(line)["topic"] for line in lines.split(b"\n")] == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (b'{"results":[{"status":201,"id":"x"},{"status":403},{"status":200}]}', 2),
        (b'{"results":[]}', 0),
        (b'{"results":[{"status":2010}]}', 0),
        (b'{"ids":[7,8,9]}', 3),
        (b'{"ids":[7]}', 1),
        (b'{"ids":[]}', 0),
    ],
)
def test_what_was_taken_is_counted_in_the_answer(body: bytes, taken: int) -> None:
    assert taken_of(body) == taken


Answering = Callable[[bytes], bytes]


class Answerer(asyncio.Protocol):
    """Answers each request, after a pause if there is one."""

    def __init__(self, answer: Answering, pause: float) -> None:
        self._answer = answer
        self._pause = pause
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) if end else 0
        if end and len(body) == size:
            self._data = b""
            asyncio.get_running_loop().call_later(
                self._pause, self._transport.write, self._answer(body)
            )


@asynccontextmanager
async def serving(answer: Answering, *, pause: float = 0) -> AsyncIterator[dict[str, Any]]:
    """Answer requests; yield their endpoint."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answerer(answer, pause), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield {"port": port, "path": "/x", "authorization": ""}


def http(status: int, body: bytes = b"{}", *, retry_after: bool = False) -> bytes:
    more = b"Retry-After: 1\r\n" if retry_after else b""
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


def asked(endpoint: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "seconds": 0.1,
        "timeout": 10,
        "payload_bytes": PAYLOAD,
        "topics": ["a"],
        "messages": 2,
        **more,
    }


async def test_batches_that_were_taken_in_part_are_told() -> None:
    one_of_two = http(200, b'{"results":[{"status":201},{"status":403}]}')
    async with serving(lambda _: one_of_two) as endpoint:
        answer = await post_batches(asked(endpoint, concurrency=2, ndjson=False))
    assert answer["requests"] >= 2
    assert answer["messages"] == answer["refused"] == answer["requests"]
    assert answer["statuses"] == {}


async def test_a_burst_counts_what_came_back_and_what_lacks_retry_after() -> None:
    answers = [
        http(201),
        http(429, retry_after=True),
        http(503, retry_after=True),
        http(503),
        http(500),
    ]
    numbers = iter(range(10**6))
    async with serving(lambda _: answers[next(numbers) % 5]) as endpoint:
        answer = await burst(asked(endpoint, messages=1, rate=500, connections=50))
    statuses = answer["statuses"]
    assert sum(statuses.values()) == answer["offered"] >= 5
    assert set(statuses) == {"201", "429", "503", "500"}
    assert answer["taken"] == statuses["201"]
    assert abs(answer["without_retry_after"] - statuses["503"] / 2) <= 1


async def test_a_burst_goes_to_all_its_topics_in_turn() -> None:
    seen: list[str] = []

    def note(body: bytes) -> bytes:
        seen.extend(one["topic"] for one in json.loads(body)["messages"])
        return http(201)

    async with serving(note) as endpoint:
        await burst(asked(endpoint, topics=list("abcd"), rate=100, connections=1, seconds=0.3))
    assert seen[:6] == list("abcdab")


async def test_a_burst_sends_no_more_than_its_connections_bear() -> None:
    async with serving(lambda _: http(201), pause=0.5) as endpoint:
        answer = await burst(asked(endpoint, messages=1, rate=200, connections=3))
    statuses = answer["statuses"]
    assert statuses["201"] + statuses["not sent"] == answer["offered"]
    assert statuses["not sent"] > 0
    # What was not sent is no load: only the rest says how much more than is taken it was.
    assert answer["sent"] == statuses["201"]
    assert answer["sent_per_second"] < answer["offered_per_second"]
