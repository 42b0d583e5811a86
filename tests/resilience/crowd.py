"""Who reads from a server, and what is published to those that keep up and to those that don't."""

import asyncio
import time
from dataclasses import dataclass
from itertools import pairwise

from bench.load.stamps import notification
from bench.machine.clock import stamp
from tests.resilience.observed import KIB
from tests.socket_client import SocketClient

TOPIC = "crowd.all"

OWN_BYTES = 24 * KIB
"""Bytes of a payload to one that does not keep up."""


@dataclass(frozen=True)
class Crowd:
    """Who reads, and what is published.

    quick, slow, deaf: readers that keep up, that read `sip` bytes a second, that never read. Half
    of the deaf are reset while the server cannot write to them. rate: messages a second to those
    that keep up. size: bytes of a payload. each: messages of OWN_BYTES to each of the others,
    evenly over the time. seconds: of publishing, once without and once with the slow ones.
    """

    quick: int
    slow: int
    deaf: int
    rate: float
    size: int
    each: int
    seconds: float
    sip: int = KIB


def own_topic(number: int) -> str:
    """Return the topic of a reader that does not keep up."""
    return f"slow.{number}"


class Publisher:
    """Publishes over a socket at a rate, each payload with the time."""

    def __init__(self, client: SocketClient, crowd: Crowd) -> None:
        self._client = client
        self._crowd = crowd
        self._payload = notification(crowd.size)
        self._own_payload = notification(OWN_BYTES)
        self._frames = 0
        self.count = 0
        self.stamp_sum = 0

    async def publish(self, seconds: float) -> None:
        """Publish to the quick readers for so long; return when all is durable."""
        messages = round(seconds * self._crowd.rate)
        await self._publish([[TOPIC]] * messages, seconds)

    async def publish_to_all(self, seconds: float) -> None:
        """Publish to the topics of the others too, to each the same number."""
        crowd = self._crowd
        messages = round(seconds * crowd.rate)
        own = crowd.each * (crowd.slow + crowd.deaf)
        due = [
            [own_topic(one % (crowd.slow + crowd.deaf)) for one in range(first, last)]
            for first, last in pairwise(own * step // messages for step in range(messages + 1))
        ]
        await self._publish([[TOPIC, *topics] for topics in due], seconds)

    async def _publish(self, steps: list[list[str]], seconds: float) -> None:
        answers = asyncio.create_task(self._await_answers(sum(map(len, steps))))
        due = time.monotonic()
        for topics in steps:
            for topic in topics:
                await self._send(topic)
            due += seconds / len(steps)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await answers

    async def _send(self, topic: str) -> None:
        now = stamp()
        head, tail = self._payload if topic == TOPIC else self._own_payload
        self._frames += 1
        if topic == TOPIC:
            self.count += 1
            self.stamp_sum += now
        frame = b'{"type":"publish","id":%d,"topic":"%b","payload":%b}' % (
            self._frames,
            topic.encode(),
            b"%b%d%b" % (head, now, tail),
        )
        await self._client.send(frame.decode())

    async def _await_answers(self, messages: int) -> None:
        for _ in range(messages):
            answer = await self._client.receive(60)
            assert answer["type"] == "published", answer
