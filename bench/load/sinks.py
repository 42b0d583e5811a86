"""Where a fan-out's messages go in: a REST API, a channel layer, or a peer's own way."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from channels_redis.pubsub import RedisPubSubChannelLayer

from bench.load.posting import Endpoint, Poster, connect

_UNSENT_BYTES: Final = 1 << 16
_REQUESTS_AT_ONCE: Final = 4


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
    """POST over keep-alive connections, as many as are in use together.

    topic: named in the body beside the payload; empty: the payload is the whole body.
    """

    def __init__(self, *, endpoint: Endpoint, topic: str, at_once: int) -> None:
        self.at_once = at_once
        self._endpoint = endpoint
        self._head = b'{"topic":"' + topic.encode() + b'","payload":' if topic else b""
        self._tail = b"}" if topic else b""
        self._idle: list[Poster] = []

    async def send(self, payload: bytes) -> int:
        """Publish and wait for the answer."""
        while self._idle:
            poster = self._idle.pop()
            if poster.usable:
                break
        else:
            poster = await connect(self._endpoint.port, self._endpoint.host)
        request = self._endpoint.request(self._head + payload + self._tail)
        status = await poster.post(request)
        self._idle.append(poster)
        return status

    async def close(self) -> None:
        """Close the idle connections; none is in use between runs."""
        for poster in self._idle:
            poster.close()


class BatchSink:
    """POST of NDJSON to /publish/batch: what is on its way together shares a request.

    batch: messages in a request at most.
    """

    def __init__(self, *, endpoint: Endpoint, topic: str, batch: int) -> None:
        self.at_once = _REQUESTS_AT_ONCE * batch
        self._endpoint = endpoint._replace(path=f"{endpoint.path}/batch")
        self._head = b'{"topic":"' + topic.encode() + b'","payload":'
        self._batch = batch
        self._waiting: list[tuple[bytes, asyncio.Future[int]]] = []
        self._idle: list[Poster] = []
        self._posting: set[asyncio.Task[None]] = set()

    async def send(self, payload: bytes) -> int:
        """Publish with whatever else is sent in this turn of the loop; wait for its own answer."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        taken: asyncio.Future[int] = loop.create_future()
        self._waiting.append((payload, taken))
        return await taken

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), self._batch):
            task = asyncio.create_task(self._post(waiting[start : start + self._batch]))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)

    async def _post(self, part: list[tuple[bytes, asyncio.Future[int]]]) -> None:
        body = b"\n".join([self._head + payload + b"}" for payload, _ in part])
        endpoint = self._endpoint
        try:
            if not self._idle:
                self._idle.append(await connect(endpoint.port, endpoint.host, keep_body=True))
            poster = self._idle.pop()
            status = await poster.post(endpoint.request(body, media_type="application/x-ndjson"))
            results = msgspec.json.decode(poster.responses.body)["results"] if status < 300 else []
            self._idle.append(poster)
        except (OSError, ValueError) as error:
            for _, taken in part:
                taken.set_exception(error)
            return
        statuses = [one["status"] for one in results] or [status] * len(part)
        for (_, taken), each in zip(part, statuses, strict=True):
            taken.set_result(each)

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


class StreamSink:
    """Messages one after the other on a TCP connection; nobody answers them.

    A message that the kernel took counts as accepted; one that was lost is missed at the
    subscribers. At most _UNSENT_BYTES wait for the server to read.
    """

    at_once = 1

    def __init__(self, *, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writer: asyncio.StreamWriter | None = None

    def framed(self, payload: bytes) -> bytes:
        """Put the length before it: 32 bits, the largest byte first."""
        return len(payload).to_bytes(4, "big") + payload

    async def opened(self) -> asyncio.StreamWriter:
        """Connect."""
        _, writer = await asyncio.open_connection(self._host, self._port)
        writer.transport.set_write_buffer_limits(_UNSENT_BYTES)
        return writer

    async def send(self, payload: bytes) -> int:
        """Write it, and wait while too much is unsent."""
        if self._writer is None:
            self._writer = await self.opened()
        self._writer.write(self.framed(payload))
        await self._writer.drain()
        return 202

    async def close(self) -> None:
        """Send what waits, and close the connection."""
        if self._writer is not None:
            self._writer.close()
            await asyncio.wait_for(self._writer.wait_closed(), 5)
            self._writer = None


class NatsSink(StreamSink):
    """PUB, in the client protocol of NATS."""

    def __init__(self, *, host: str, port: int, topic: str) -> None:
        super().__init__(host=host, port=port)
        self._subject = topic.encode()

    def framed(self, payload: bytes) -> bytes:
        """Put the command before it."""
        return b"PUB %b %d\r\n%b\r\n" % (self._subject, len(payload), payload)

    async def opened(self) -> asyncio.StreamWriter:
        """Connect, and wait until the server has taken the CONNECT."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.transport.set_write_buffer_limits(_UNSENT_BYTES)
        await asyncio.wait_for(reader.readline(), 5)  # INFO
        writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n')
        await asyncio.wait_for(reader.readline(), 5)  # PONG
        return writer


def open_sink(options: dict[str, Any]) -> Sink:
    """Build the sink that `options` describe: {"kind": rest, batch, layer, stream or nats; …}."""
    values = dict(options)
    kinds: dict[str, Callable[..., Sink]] = {
        "rest": RestSink,
        "batch": BatchSink,
        "layer": LayerSink,
        "stream": StreamSink,
        "nats": NatsSink,
    }
    kind = kinds[values.pop("kind")]
    if "endpoint" in values:
        values["endpoint"] = Endpoint(**values["endpoint"])
    return kind(**values)
