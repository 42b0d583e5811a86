"""A long absence on real servers: 10,000 messages of 500 topics, resumed under live traffic."""

import asyncio
import http.client
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tests.delivery.test_delivery import make_key
from tests.delivery.test_resume import resumed
from tests.deployment import Deployment, Server
from tests.socket_client import SocketClient, connect

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.redis]

TOPICS = 500
NEW_TOPICS = 100
MISSED = 10_000
LIVE = 800
LIVE_BATCH = 10
LIVE_PAUSE = 0.05
WAIT = 100.0

Frame = dict[str, Any]
Place = tuple[int, int]


def publish_batch(server: Server, key: str, topics: Iterable[str]) -> dict[Place, str]:
    """Publish one message to each topic named; return the ids by position."""
    body = json.dumps({"messages": [{"topic": topic, "payload": topic} for topic in topics]})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/api/v1/publish/batch", body, headers)
        answer = connection.getresponse()
        results = json.loads(answer.read())["results"]
    finally:
        connection.close()
    assert {result["status"] for result in results} <= {201}, results
    return {(result["position"][0], result["position"][1]): result["id"] for result in results}


def publish(server: Server, key: str, topics: Sequence[str], count: int) -> dict[Place, str]:
    """Publish `count` messages to topics in turn, by batches of 1,000."""
    places: dict[Place, str] = {}
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        places |= publish_batch(server, key, [topics[n % len(topics)] for n in numbers])
    return places


def publish_live(servers: Sequence[Server], key: str, topics: Sequence[str]) -> dict[Place, str]:
    """Publish LIVE messages, some 200 a second, at the servers in turn."""
    places: dict[Place, str] = {}
    for first in range(0, LIVE, LIVE_BATCH):
        numbers = range(first, first + LIVE_BATCH)
        server = servers[first // LIVE_BATCH % len(servers)]
        places |= publish_batch(server, key, [topics[7 * n % len(topics)] for n in numbers])
        time.sleep(LIVE_PAUSE)
    return places


def place_of(message: Frame) -> Place:
    partition, offset = message["position"]
    return partition, offset


def by_partition(places: Iterable[Place]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for partition, offset in places:
        found[partition].append(offset)
    return dict(found)


async def leave(server: Server, key: str, pattern: str, topics: Sequence[str]) -> Frame:
    """Subscribe, receive one message of each topic, go away; return what resumes."""
    async with connect(server.socket_url) as client:
        success = await client.authenticate(key)
        await client.subscribe(pattern)
        await asyncio.to_thread(publish, server, key, topics, len(topics))
        messages = await client.messages(len(topics), WAIT)
        cursor = success["cursor"]
        for partition, offset in map(place_of, messages):
            cursor["offsets"][str(partition)] = offset
        return {"session_id": success["sessionId"], "cursor": cursor}


async def come_level(client: SocketClient, told: dict[str, int], places: Iterable[Place]) -> None:
    """Ping until the server says that nothing at or before these places is still to come."""
    heads = {str(p): max(offsets) for p, offsets in by_partition(places).items()}
    async with asyncio.timeout(WAIT):
        while any(told[partition] < head for partition, head in heads.items()):
            await client.send({"type": "ping"})
            pong = await client.receive_until(lambda frame: frame["type"] == "pong", WAIT)
            told |= pong["cursor"]["offsets"]
            await asyncio.sleep(0.05)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("pattern", "topic", "live_before"),
    [
        pytest.param("fleet.7.*", "fleet.7.truck-{n}", False, id="one partition"),
        pytest.param("fleet.**", "fleet.{group}.truck-{n}", True, id="all partitions"),
    ],
)
async def test_10000_missed_messages_of_500_topics_under_live_traffic(
    cluster: Deployment, pattern: str, topic: str, live_before: bool
) -> None:
    """All of them in offset order and flagged, then the live ones, each once; nothing else.

    live_before: whether the traffic goes on before the client is back, so that its beginning is
    replayed too. Otherwise it begins behind the splice, and what was missed is exactly as much as
    one replay may bring.
    """
    key = make_key(cluster)
    options: dict[str, Any] = {
        "NOTIFICATIONS_RATE_LIMITS": "off",
        "NOTIFICATIONS_REPLAY_MAX_MESSAGES": str(MISSED + live_before * LIVE),
    }
    left, right = cluster.start(**options), cluster.start(**options)
    topics = [topic.format(n=n, group=n % 40) for n in range(TOPICS)]
    away = await leave(left, key, pattern, topics[:-NEW_TOPICS])
    missed = await asyncio.to_thread(publish, left, key, topics, MISSED)
    # Others' messages, some of them in the same partitions.
    others = [f"other.{n}.news" for n in range(40)]
    if pattern == "fleet.7.*":
        others += ["fleet.7", "fleet.7.truck-1.engine"]
    await asyncio.to_thread(publish, right, key, others, 2000)
    assert len(missed) == MISSED
    if live_before:
        assert len(by_partition(missed)) > 4, "this is about several partitions"

    def go_on() -> asyncio.Task[dict[Place, str]]:
        return asyncio.create_task(asyncio.to_thread(publish_live, [left, right], key, topics))

    going = go_on() if live_before else None
    async with resumed(right, key, **away) as (client, success):
        assert success["resumed"] is True
        going = going or go_on()
        replayed: list[Frame] = []
        while (frame := await client.receive(WAIT))["type"] == "message":
            replayed.append(frame)
        assert frame["type"] == "replay_complete"
        complete = frame
        published = missed | await going
        splice = complete["cursor"]["offsets"]
        due = {p: i for p, i in published.items() if p[1] <= splice[str(p[0])]}
        live = await client.messages(len(published) - len(due), WAIT)
        await come_level(client, dict(splice), published)
        assert client.inbox == [], "nothing else"

    assert (complete["recovered"], complete["count"]) == (True, len(due)), complete
    assert missed.keys() <= due.keys()
    if not live_before:
        assert complete["count"] == MISSED
    places = [place_of(message) for message in replayed]
    assert places == sorted(due), "in partition order, in offset order in each, each once"
    assert {place_of(message): message["id"] for message in replayed} == due
    assert all(message["replayed"] is True for message in replayed)
    assert all(message["payload"] == message["topic"] for message in replayed + live)
    assert len({message["topic"] for message in replayed}) == TOPICS
    # The live ones: each once, in order, not flagged.
    behind = {p: i for p, i in published.items() if p not in due}
    assert {place_of(message): message["id"] for message in live} == behind
    for partition, offsets in by_partition(map(place_of, live)).items():
        assert offsets == sorted(offsets), f"partition {partition}"
    assert len(live) == len(behind)
    assert not any("replayed" in message for message in live)
