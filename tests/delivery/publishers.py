"""Publishers and subscribers that note what they were told, and the check of what they noted."""

import asyncio
import http.client
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.deployment import Server
from tests.socket_client import SocketClient


@dataclass
class Acknowledged:
    """What publishers were told: (topic, seq) → message id."""

    ids: dict[tuple[str, int], str] = field(default_factory=dict)
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: dict[str, Any]) -> None:
        """Note a publish that was answered 2xx."""
        with self._lock:
            place = (answer["topic"], answer["seq"])
            assert place not in self.ids, f"{place} was acknowledged twice"
            self.ids[place] = answer["id"]


def publish_many(
    servers: Sequence[Server],
    key: str,
    topics: Sequence[str],
    *,
    count: int,
    publishers: int,
    stop_on_error: bool = False,
) -> Acknowledged:
    """Publish over REST from concurrent publishers, each on one connection of its own."""
    acknowledged = Acknowledged()

    def publish(publisher: int) -> None:
        server = servers[publisher % len(servers)]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        for number in range(publisher, count, publishers):
            topic = topics[number % len(topics)]
            body = json.dumps({"topic": topic, "payload": {"number": number}})
            try:
                connection.request("POST", "/api/v1/publish", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                acknowledged.failed += 1
                if stop_on_error:
                    return
                raise
            assert answer.status == 201, content
            acknowledged.note(json.loads(content))
        connection.close()

    with ThreadPoolExecutor(publishers) as pool:
        list(pool.map(publish, range(publishers)))
    return acknowledged


async def collect(client: SocketClient, count: int, timeout: float) -> list[dict[str, Any]]:
    """Receive so many messages; fewer when the time is over."""
    messages: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(timeout):
            while len(messages) < count:
                messages.append(await client.message(timeout))
    except TimeoutError:
        pass
    return messages


def assert_gapless(
    messages: Iterable[dict[str, Any]], expected: dict[tuple[str, int], str]
) -> None:
    """Check that exactly the expected messages came, each once, each topic in order."""
    seqs: dict[str, list[int]] = defaultdict(list)
    received: dict[tuple[str, int], str] = {}
    for message in messages:
        seqs[message["topic"]].append(message["seq"])
        received[(message["topic"], message["seq"])] = message["id"]
    for topic, values in seqs.items():
        assert values == list(range(1, len(values) + 1)), f"{topic}: hole, repeat or disorder"
    assert received == expected
