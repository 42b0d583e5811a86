"""Following the log where the channel layer hangs: many partitions are waited for at once."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from notifications.bus import bus as bus_module
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.hub import Hub
from notifications.hub import follower as follower_module
from notifications.hub.subscriber import Wish
from notifications.log.creation import read_identity
from notifications.log.read import LogState, read_state
from notifications.topics.partitions import partitions_of
from tests.hub.test_hub import Net, Peer

pytestmark = pytest.mark.django_db(transaction=True)

NEVER = 1e6


class Hanging(Net):
    """A layer that hangs when told to. most: how many of its calls hung at once."""

    hangs = False
    waiting = most = 0

    async def group_add(self, group: str, channel: str) -> None:
        await self._hang()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._hang()
        await super().group_discard(group, channel)

    async def _hang(self) -> None:
        if not self.hangs:
            return
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1


@pytest.fixture
def net() -> Hanging:
    return Hanging(capacity=1_000)


@pytest.fixture
async def hub(net: Hanging, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(bus_module, "SEND_TIMEOUT", 0.05)
    hub = Hub(net, await in_database(read_identity), on_control=lambda _: None, poll_interval=NEVER)
    await hub.start()
    yield hub
    net.hangs = False
    await hub.stop()


def everything(hub: Hub) -> set[int]:
    return set(partitions_of("**", hub.identity.partition_count))


async def test_all_groups_are_joined_at_once(hub: Hub, net: Hanging) -> None:
    net.hangs = True
    await hub.follow(["**", "a.b"])
    assert set(hub._places) == everything(hub)
    assert net.most == len(everything(hub)) > 1


async def test_all_groups_are_left_at_once(
    hub: Hub, net: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "LINGER", -1.0)
    peer = Peer()
    await hub.follow(["**"])
    hub.add(peer.subscriber, "**", Wish("w"))
    net.hangs = True
    hub.remove(peer.subscriber, "**")
    await hub.look()
    assert not hub._places
    assert net.most == len(everything(hub)) > 1


async def test_a_partition_that_cannot_be_opened_is_told_and_tried_anew(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count(1)  # threads take each number once

    def fail_once() -> LogState:
        if next(calls) == 3:
            raise Unavailable("The database is away.")
        return read_state()

    monkeypatch.setattr(follower_module, "read_state", fail_once)
    with pytest.raises(Unavailable):
        await hub.follow(["**"])
    assert len(hub._places) == len(everything(hub)) - 1, "the others are followed"
    await hub.follow(["**"])
    assert set(hub._places) == everything(hub)


async def test_whoever_gives_up_stops_no_opening_that_others_wait_for(
    hub: Hub, net: Hanging
) -> None:
    net.hangs = True
    gives_up = asyncio.create_task(hub.follow(["**"]))
    await asyncio.sleep(0)
    waits = asyncio.create_task(hub.follow(["**"]))
    await asyncio.sleep(0)
    gives_up.cancel()
    await waits
    assert set(hub._places) == everything(hub)
    assert gives_up.cancelled()
