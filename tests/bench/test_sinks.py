"""The sink that gathers: who sends together shares a request and gets an answer of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.load.posting import Endpoint
from bench.load.sinks import BatchSink


class Api:
    """Answers batches: a payload's own number is its status; 500 and more for the whole."""

    def __init__(self) -> None:
        self.bodies: list[list[int]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sink was closed
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            assert head.startswith(b"POST /publish/batch ")
            assert b"Content-Type: application/x-ndjson\r\n" in head
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            lines = (await reader.readexactly(length)).split(b"\n")
            numbers = [json.loads(line)["payload"] for line in lines]
            self.bodies.append(numbers)
            whole = max(numbers)
            answer = json.dumps({"results": [{"status": number} for number in numbers]})
            status = whole if whole >= 500 else 200
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode()
            )


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Api, BatchSink]]:
    api = Api()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = BatchSink(endpoint=Endpoint(port, "/publish", ""), topic="a", batch=3)
    try:
        yield api, sink
    finally:
        await sink.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # the ends of connections that were aborted


async def test_who_sends_together_shares_a_request_and_each_has_its_answer() -> None:
    async with serving() as (api, sink), asyncio.timeout(10):
        numbers = [201, 200, 403, 201]
        answers = await asyncio.gather(*[sink.send(b"%d" % number) for number in numbers])
        assert list(answers) == numbers
        assert sorted(api.bodies, key=len) == [[201], [201, 200, 403]]


async def test_a_request_that_is_refused_is_refused_for_all() -> None:
    async with serving() as (_, sink), asyncio.timeout(10):
        answers = await asyncio.gather(sink.send(b"503"), sink.send(b"201"))
        assert list(answers) == [503, 503]


async def test_a_lost_connection_is_told_to_all() -> None:
    async with serving() as (_, sink):
        pass
    found = await asyncio.gather(sink.send(b"1"), sink.send(b"2"), return_exceptions=True)
    assert [isinstance(one, OSError) for one in found] == [True, True]
