"""Both clients at a real server, through a network that breaks in the middle of frames."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.driver_process import Client, DriverProcess
from tests.clients.fault_proxy import Cut, Fault, FaultProxy, HalfOpen, Latency, Reset
from tests.clients.feed import Feed
from tests.clients.life import PUBLISHES, Life
from tests.deployment import Deployment, Server

pytestmark = [pytest.mark.server, pytest.mark.sqlite]

FRAMES: Final = 40
CUTS: Final = 120
BYTES: Final = (0, 1, 2, 5, 6, 9, 30, 80, 1_000_000)
"""Places within a frame: its head, its mask, its payload, and its end."""

DRIVERS: Final = 2
"""Processes in which the lives of one client are lived, one after the other in each."""


class World(NamedTuple):
    """A server with a feed of messages, shared by all lives."""

    deployment: Deployment
    server: Server
    key: str
    feed: Feed


@pytest.fixture(scope="module")
def world(
    templates: dict[str, Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Start a server, and publish all the time."""
    folder = tmp_path_factory.mktemp("world")
    template = Deployment.template("sqlite", templates, folder)
    deployment = Deployment.create("sqlite", folder, template)
    try:
        key = deployment.key
        server = deployment.start(NOTIFICATIONS_RATE_LIMITS="off")
        with Feed(server, key) as feed:
            yield World(deployment, server, key, feed)
        assert not feed.errors
    finally:
        deployment.close()


async def live(
    world: World,
    client: Client,
    directory: Path,
    faults: Sequence[Sequence[Fault]],
    **config: Any,
) -> list[Life]:
    """Live a life for each list of faults, check each, and then what the server stored."""
    lives: list[Life] = []

    async def some(driver: DriverProcess, first: int) -> None:
        for number in range(first, len(faults), DRIVERS):
            name = f"{client}-{directory.name[-20:]}-{number}"
            async with FaultProxy(world.server.port, faults[number]) as proxy:
                life = Life(driver, proxy, world.feed, name)
                await life.live(world.key, **config)
            life.check()
            lives.append(life)

    async with AsyncExitStack() as stack:
        drivers = [
            await stack.enter_async_context(DriverProcess(client, directory / f"{number}.json"))
            for number in range(min(DRIVERS, len(faults)))
        ]
        async with asyncio.TaskGroup() as tasks:
            for number, driver in enumerate(drivers):
                tasks.create_task(some(driver, number))
    assert len(lives) == len(faults)
    check_what_is_stored(world, lives)
    return lives


def check_what_is_stored(world: World, lives: list[Life]) -> None:
    """Look into the log, without our code: each publish of a client once, in its order."""
    rows = world.deployment.query(
        "SELECT t.name, m.payload FROM notifications_message m "
        "JOIN notifications_topic t ON t.id = m.topic_id "
        "WHERE t.name LIKE 'own.%' ORDER BY m.seq"
    )
    stored: dict[str, list[str]] = {}
    for topic, payload in rows:
        stored.setdefault(topic, []).append(payload)
    for life in lives:
        numbers = [f'"n":{number}' for number in range(PUBLISHES)]
        texts = [str(text).replace(" ", "") for text in stored[life.topic]]
        assert len(texts) == PUBLISHES, (life.name, texts)
        assert all(number in text for number, text in zip(numbers, texts, strict=True)), texts


def spread() -> list[list[Fault]]:
    """Cut each of the first frames at several bytes; each life has two of these cuts."""
    cuts = [
        Cut(number % FRAMES, BYTES[(number * 7 + number // 40) % len(BYTES)])
        for number in range(CUTS)
    ]
    half = CUTS // 2
    return [[cuts[number], cuts[half + (number * 17) % half]] for number in range(half)]


@pytest.mark.parametrize("client", CLIENTS)
async def test_cuts_within_the_first_frames(world: World, client: Client, tmp_path: Path) -> None:
    lives = await live(world, client, tmp_path, spread())
    assert len(lives) * 2 == CUTS


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(0, FRAMES, 8))
@pytest.mark.parametrize("client", CLIENTS)
async def test_cuts_at_every_byte_of_the_first_frames(
    world: World, client: Client, first: int, tmp_path: Path
) -> None:
    (probe,) = await live(world, client, tmp_path, [[HalfOpen(FRAMES)]], heartbeatTimeout=1000)
    sizes = probe.passages[0].sizes
    every: list[list[Fault]] = [
        [Cut(frame, byte)] for frame in range(first, first + 8) for byte in range(sizes[frame] + 1)
    ]
    print(f"\n{client}: {len(every)} cuts in the frames from {first}")
    folder = tmp_path / "cuts"
    folder.mkdir()
    await live(world, client, folder, every)


@pytest.mark.parametrize("client", CLIENTS)
async def test_resets(world: World, client: Client, tmp_path: Path) -> None:
    faults: list[list[Fault]] = [
        [Reset(first), Reset(first + 1), Reset(first * 2)] for first in range(0, 20, 2)
    ]
    await live(world, client, tmp_path, faults)


@pytest.mark.parametrize("client", CLIENTS)
async def test_half_open_connections_are_noticed(
    world: World, client: Client, tmp_path: Path
) -> None:
    faults: list[list[Fault]] = [[HalfOpen(frames), HalfOpen(frames + 3)] for frames in (3, 7, 20)]
    for life in await live(world, client, tmp_path, faults, heartbeatTimeout=1000):
        reasons = [one["reason"] for one in life.seen.states if one["state"] == "reconnecting"]
        assert reasons == ["timeout", "timeout"]


@pytest.mark.parametrize("client", CLIENTS)
async def test_latency_is_measured_and_harms_nobody(
    world: World, client: Client, tmp_path: Path
) -> None:
    faults: list[list[Fault]] = [[Latency(0.05)], [Latency(0.05)]]
    for life in await live(world, client, tmp_path, faults):
        latency = [one["latency"] for one in life.seen.rest if "latency" in one]
        assert latency[0] >= 100
