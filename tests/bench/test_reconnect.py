"""The benchmark of clients that are cut off: its judgement, its relay, and a short run."""

import asyncio
import json
import random
import subprocess
import sys
from typing import Any

import pytest

from bench.load.relay import Relay
from bench.reconnect import figures
from tests.deployment import ROOT

CUT_AT = 100.0


def times(count: int = 1000, **changed: Any) -> list[dict[str, Any]]:
    """Return what clients note that come back as the jitter says."""
    chance = random.Random(3)
    delays = [chance.uniform(700, 1300) for _ in range(count)]
    return [
        {
            "lost": CUT_AT,
            "tried": CUT_AT + delay / 1e3,
            "back": CUT_AT + delay / 1e3 + 0.01,
            "delay": delay,
            "tries": 1,
        }
        | changed
        for delay in delays
    ]


def test_clients_that_come_back_as_the_jitter_says_are_complete() -> None:
    made = figures(times(), CUT_AT, 1000)
    assert made["complete"]
    assert made["recovered"] == made["first_try"] == sum(made["back"]["counts"]) == 1000
    assert made["outside"] == 0
    assert sum(made["spread"]["planned"]) == sum(made["spread"]["waited"]) == 1000
    assert 700 < made["back_p50_ms"] < made["back_max_ms"] < 1311


def test_a_client_that_stays_away_is_seen() -> None:
    noted = times()
    noted[0]["back"] = None
    made = figures(noted, CUT_AT, 1000)
    assert not made["complete"]
    assert made["recovered"] == 999


def test_a_herd_is_seen() -> None:
    made = figures(times(delay=1000.0), CUT_AT, 1000)
    assert not made["even"]
    assert not made["complete"]


def test_a_delay_outside_the_jitter_is_seen() -> None:
    assert figures(times(delay=1400.0), CUT_AT, 1000)["outside"] == 1000


async def test_the_relay_passes_on_and_drops_all_at_once() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Relay(server.sockets[0].getsockname()[1]) as relay:
        sides = [await asyncio.open_connection("127.0.0.1", relay.port) for _ in range(3)]
        async with asyncio.timeout(10):
            for reader, writer in sides:
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
            assert relay.reset() == 3
            for reader, _ in sides:
                with pytest.raises(ConnectionResetError):
                    await reader.read()
        for _, writer in sides:
            writer.close()


@pytest.mark.server
@pytest.mark.postgres
@pytest.mark.redis
def test_a_short_run_brings_everyone_back() -> None:
    command = [sys.executable, "-m", "bench.reconnect", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100, check=False)
    assert done.stdout, done.stderr.decode()
    [line] = done.stdout.splitlines()
    made = json.loads(line)
    assert made["cut"] == made["recovered"] == 100
    assert made["outside"] == 0
    assert made["cpu_ms_per_client"] > 0
