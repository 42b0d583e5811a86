"""Where a fan-out's messages go in: our REST API, or the baseline's channel layer."""

import asyncio
from typing import Any, Protocol

import msgspec
from channels_redis.pubsub import RedisPubSubChannelLayer

from bench.load.posting import Endpoint, Poster, connect


class Sink(Protocol):
    """Takes messages. at_once: how many sends may usefully be on their way together."""

    at_once: int

    async def send(self, payload: bytes) -> int:
        """Publish one JSON payload and return an HTTP status; 2xx means accepted."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class RestSink:
    """POST /api/v1/publish over keep-alive connections, as many as are in use together."""

    def __init__(self, *, endpoint: Endpoint, topic: str, at_once: int) -> None:
        self.at_once = at_once
        self._endpoint = endpoint
        self._head = b'{"topic":"' + topic.encode() + b'","payload":'
        self._idle: list[Poster] = []

    async def send(self, payload: bytes) -> int:
        """Publish and wait for the answer."""
        while self._idle:
            poster = self._idle.pop()
            if poster.usable:
                break
        else:
            poster = await connect(self._endpoint.port)
        status = await poster.post(self._endpoint.request(self._head + payload + b"}"))
        self._idle.append(poster)
        return status

    async def close(self) -> None:
        """Close the idle connections; none is in use between runs."""
        for poster in self._idle:
            poster.close()


class LayerSink:
    """group_send from this process: the server pays for the fan-out and for nothing before it.

    One at a time: the layer holds a lock around each publish, and order is the point of it.
    """

    at_once = 1

    def __init__(self, *, redis_url: str, prefix: str, group: str) -> None:
        self._layer: Any = RedisPubSubChannelLayer(hosts=[redis_url], prefix=prefix)
        self._group = group

    async def send(self, payload: bytes) -> int:
        """Send to the group; the layer reports nothing, so it is always accepted."""
        event = {"type": "notify", "data": msgspec.json.decode(payload)}
        await self._layer.group_send(self._group, event)
        return 202

    async def close(self) -> None:
        """Close the layer's connections to Redis."""
        await asyncio.wait_for(self._layer.flush(), 5)


def open_sink(options: dict[str, Any]) -> Sink:
    """Build the sink that `options` describe: {"kind": "rest" or "layer", its values}."""
    values = dict(options)
    if values.pop("kind") == "layer":
        return LayerSink(**values)
    values["endpoint"] = Endpoint(**values["endpoint"])
    return RestSink(**values)
