"""A worker of the load, over its pipes."""

import pytest

from bench.servers.process import ServerFailed
from bench.servers.worker import worker

TOKEN_BYTES = 800
"""An access token with its claims and its signature, generously."""


async def test_thousands_of_clients_may_have_a_token_each() -> None:
    tokens = ["x" * TOKEN_BYTES] * 10_000
    rest = {"run": "", "port": 1, "patterns": ["a"], "count": 0, "at_once": 1, "timeout": 1}
    async with worker("bench.load.resuming") as clients:
        answer = await clients.ask("leave", within=60, tokens=tokens, **rest)
    assert (answer["done"], answer["failures"]) == (0, {})


async def test_what_a_worker_cannot_do_is_told() -> None:
    async with worker("bench.load.resuming") as clients:
        with pytest.raises(ServerFailed, match="leave: KeyError"):
            await clients.ask("leave", within=60)
