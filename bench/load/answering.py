"""The other end of a worker's pipe: requests come on stdin, answers go to stdout, JSON lines."""

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import uvloop

REQUEST_BYTES: Final = 1 << 24
"""A request's line: 10,000 clients with a token each need a half of it."""

Request = dict[str, Any]
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


async def _serve(handlers: Mapping[str, Handler]) -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=REQUEST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    # Whoever started this worker may die without a word; the end of stdin then ends the worker.
    while line := await requests.readline():
        request: Request = json.loads(line)
        try:
            answer = await handlers[request.pop("do")](request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def run(handlers: Mapping[str, Handler]) -> None:
    """Answer requests, one at a time, until stdin ends.

    A request names its handler in `do`; the rest of it are the handler's values. An exception
    becomes {"error": text}. The cyclic collector is off: a worker lives for seconds, and a
    collection over thousands of sockets would show up as latency of the server.
    """
    gc.disable()
    uvloop.run(_serve(handlers))
