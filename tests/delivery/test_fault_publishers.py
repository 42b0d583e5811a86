"""The publishers of the fault runs: what they note is what happened, and they do not give up."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from tests.delivery.fault_publishers import RestPublisher, SocketPublisher, make_plans
from tests.delivery.history import (
    Acknowledged,
    Event,
    Failed,
    History,
    Invoked,
    Planned,
    Unknown,
    read_history,
)

COUNT = 12
"""Publishes after which a scripted server says that it is enough."""


class Script:
    """What the scripted servers do: of each key, break, fail, refuse, and then answer."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.attempts: Counter[str] = Counter()

    def attempt(self, body: dict[str, Any]) -> int:
        """Count an attempt; return its number."""
        key = body["idempotencyKey"]
        self.attempts[key] += 1
        if self.attempts[key] == 4 and len(self.attempts) == COUNT:
            self.stop.set()
        return self.attempts[key]

    @staticmethod
    def place(body: dict[str, Any]) -> dict[str, Any]:
        key = body["idempotencyKey"]
        return {"topic": body["topic"], "seq": 1, "position": [0, 1], "id": f"id of {key}"}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.jsonl") as made:
        yield made


def assert_noted(history: History, script: Script) -> None:
    """Check that each key's attempts were noted in their order, the last one answered."""
    history.close()
    by_key: dict[str, list[Event]] = {}
    for event in read_history(history.path):
        assert isinstance(event, Planned | Invoked | Acknowledged | Failed | Unknown)
        by_key.setdefault(event.key, []).append(event)
    assert list(script.attempts) == [f"p-{number}" for number in range(COUNT)]
    for number in range(COUNT):
        noted = [type(event) for event in by_key[f"p-{number}"]]
        again = [Invoked, Acknowledged] if number % 10 == 0 else []
        assert noted == [
            Planned, Invoked, Unknown, Invoked, Unknown, Invoked, Failed, Invoked, Acknowledged,
            *again,
        ]  # fmt: skip


@contextmanager
def http_servers(script: Script) -> Iterator[list[str]]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = script.attempt(body)
            if number == 1:
                self.close_connection = True  # without an answer
                return
            answer = json.dumps(script.place(body) if number > 3 else {"code": "?"}).encode()
            self.send_response({2: 503, 3: 429, 4: 201}.get(number, 200))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_rest_publisher_retries_until_it_is_answered(history: History) -> None:
    script = Script()
    (plan,) = make_plans(history, ["shop.1.a"], ["p"], rate=1000, stop=script.stop, seed=1)
    with http_servers(script) as urls:
        publisher = RestPublisher(plan, urls, "key", first=0)
        publisher.start()
        publisher.join(30)
        assert not publisher.is_alive()
    assert_noted(history, script)


async def test_a_socket_publisher_retries_until_it_is_answered(history: History) -> None:
    script = Script()
    (plan,) = make_plans(history, ["shop.1.a"], ["p"], rate=1000, stop=script.stop, seed=1)

    async def serve(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type": "auth_success"}')
        async for data in socket:
            body = json.loads(data)
            number = script.attempt(body)
            reply = {"id": body["id"], "type": "error"}
            if number == 1:
                socket.transport.abort()
                return
            if number > 3:
                place = script.place(body)
                reply |= place | {"id": body["id"], "type": "published", "messageId": place["id"]}
            else:
                reply["code"] = {2: "UNAVAILABLE", 3: "RATE_LIMITED"}[number]
            await socket.send('{"type": "message"}')  # nothing that it asked for
            await socket.send(json.dumps(reply))

    async with (
        websockets.serve(serve, "127.0.0.1", 0) as first,
        websockets.serve(serve, "127.0.0.1", 0) as second,
        asyncio.timeout(30),
    ):
        urls = [
            f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            for server in (first, second)
        ]
        await SocketPublisher(plan, urls, "key", first=0).run()
    assert_noted(history, script)


def test_what_was_due_and_not_come_to_was_planned_all_the_same(history: History) -> None:
    stop = threading.Event()
    (plan,) = make_plans(history, ["shop.1.a"], ["p"], rate=200, stop=stop, seed=1)
    publishes = plan.due()
    due, body, _ = next(publishes)
    plan.planned(body["idempotencyKey"], due)
    time.sleep(0.1)  # time is what the plan is made of
    stop.set()
    assert list(publishes) == []
    history.close()
    planned = [event for event in read_history(history.path) if isinstance(event, Planned)]
    assert len(planned) >= 20
    assert [event.key for event in planned] == [f"p-{number}" for number in range(len(planned))]
    assert all(due <= event.due < due + len(planned) / 200 for event in planned)
