"""Replays and subscribing on a connection over the real log, and what may happen meanwhile."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.database import in_database
from notifications.gateway import replays as replays_module
from notifications.gateway import subscribing
from notifications.gateway.authentication import authenticate
from notifications.gateway.places import since_place
from notifications.hub import Hub
from notifications.hub import replay as replay_module
from notifications.hub import survey as survey_module
from notifications.hub import turns as turns_module
from notifications.log.read import LogState
from notifications.models import Subscription
from notifications.protocol.frames import Auth, Replay, Subscribe, SubscriptionOptions
from notifications.protocol.states import State
from notifications.services.opening import OpenedSession
from notifications.topics.partitions import partition_of
from tests.gateway.clients import WAIT, Client, client_of, publish

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 16
ZERO = (0,) * COUNT
USER_1 = partition_of("user.1", COUNT)


def restored(head: int) -> LogState:
    """Return the log as a backup brings it back, with another head in one partition."""
    return LogState("restored", tuple(head if n == USER_1 else 0 for n in range(COUNT)), ZERO)


# --- The log begins a new life ----------------------------------------------------------------


async def test_what_was_missed_is_counted_from_the_gap_of_a_new_epoch(hub: Hub) -> None:
    client = await client_of(hub, "user.1.b")
    await publish(hub, *["user.1.a"] * 10)
    client.connection.subscriber.acked = hub.offsets()
    hub.learn(restored(4))
    gap = await client.until("gap")
    options = SubscriptionOptions(replay_missed=True)
    await client.ask(Subscribe(id=1, topic="user.1.a", options=options))
    row = await in_database(Subscription.objects.get)
    assert row.epoch == gap["cursor"]["epoch"] == "restored"
    assert row.begin[str(USER_1)] == gap["cursor"]["offsets"][str(USER_1)] == 4


async def test_a_new_epoch_while_a_subscription_is_made(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(hub, *["user.1.a"] * 10)
    client = await client_of(hub)

    async def slowly(*arguments: Any) -> Any:
        found = await since_place(*arguments)
        hub.learn(restored(4))
        return found

    monkeypatch.setattr(subscribing, "since_place", slowly)
    options = SubscriptionOptions(since={"last": 2})
    await client.ask(Subscribe(id=1, topic="user.1.a", options=options))
    assert (await client.until("websocket.close"))["code"] == 4410
    row = await in_database(Subscription.objects.get)
    assert (row.begin[str(USER_1)], row.epoch == "restored") == (8, False)
    assert [frame["type"] for frame in client.frames] == ["disconnect", "websocket.close"]


async def test_a_new_epoch_while_a_replay_goes_out(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even in the turn in which it becomes known is it completed."""
    await publish(hub, *["user.1.a"] * 3)
    client = await client_of(hub, "user.1.a")
    replay = hub.feeder.replay

    async def to_the_end(*arguments: Any) -> Any:
        found = await replay(*arguments)
        hub.learn(restored(2))
        return found

    monkeypatch.setattr(hub.feeder, "replay", to_the_end)
    epoch = hub.identity.epoch
    await client.ask(Replay(id=1, cursor={"epoch": epoch, "offsets": {}}))
    assert (await client.until("websocket.close"))["code"] == 4410
    kinds = [frame["type"] for frame in client.frames]
    assert kinds == ["message"] * 3 + ["disconnect", "websocket.close"]


# --- Something else is told meanwhile -----------------------------------------------------------


@pytest.mark.parametrize("way", ["shared", "alone"])
async def test_a_gap_during_a_replay_tells_where_the_replay_stands(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A client sets its cursor to a gap's, and drops whatever of its replay that covers."""
    monkeypatch.setattr(replay_module, "BREATH", 2)
    if way == "alone":
        for module in (replay_module, survey_module):
            monkeypatch.setattr(module, "SHARED_SPAN", -1)
    await publish(hub, *["user.1.a"] * 6)
    hub.pages.clear()
    client = await client_of(hub, "user.1.a")
    through = hub.detach(client.connection.subscriber)
    client.connection.replays.start(ZERO, through, request_id=None, after_resume=True)
    # Once for each place: as many gaps as there are turns of the loop would be too much to read.
    places: list[object] = []
    while not any(frame["type"] == "replay_complete" for frame in client.frames):
        if (place := client.connection.replays.place) not in places:
            places.append(place)
            client.connection._tell_gap("user.1.a", "BEYOND_RETENTION")
        await asyncio.sleep(0)
    cursor, told = 0, set()
    for frame in client.frames:
        if frame["type"] == "message":
            assert frame["position"][1] > cursor
            cursor = frame["position"][1]
        elif frame["type"] == "gap":
            assert frame["cursor"]["offsets"][str(USER_1)] == cursor
            told.add(cursor)
    assert cursor == 6
    assert len(told) > 2, "also in the middle of it"


async def test_a_gap_during_a_replay_that_was_asked_for_sets_no_cursor_back(hub: Hub) -> None:
    await publish(hub, *["user.1.a"] * 6)
    client = await client_of(hub, "user.1.a")
    epoch = hub.identity.epoch
    await client.ask(Replay(id=1, cursor={"epoch": epoch, "offsets": {}}))
    client.connection._tell_gap("user.1.b", "BEYOND_RETENTION")
    await client.until("replay_complete")
    assert (await client.until("gap"))["cursor"]["offsets"][str(USER_1)] == 6


# --- One after the other --------------------------------------------------------------------


class CatchingUp:
    """A client whose replay is complete, and that catches up until it is let go."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = asyncio.Event()
        self._hub = hub
        self._catch_up = hub.feeder.catch_up
        monkeypatch.setattr(hub.feeder, "catch_up", self._slowly)

    async def _slowly(self, *arguments: Any) -> None:
        await self.go_on.wait()
        await self._catch_up(*arguments)

    async def client(self) -> Client:
        client = await client_of(self._hub, "user.1.*")
        cursor = {"epoch": self._hub.identity.epoch, "offsets": {}}
        await client.ask(Replay(id=1, cursor=cursor))
        assert (await client.until("replay_complete"))["count"] == 3
        return client


async def test_the_next_replay_waits_until_the_connection_is_level(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end must not cover what is still to come from before it."""
    await publish(hub, *["user.1.a"] * 3)
    catching_up = CatchingUp(hub, monkeypatch)
    client = await catching_up.client()
    await publish(hub, *["user.1.b"] * 2)
    cursor = {"epoch": hub.identity.epoch, "offsets": {str(USER_1): 2}}
    asking = asyncio.create_task(client.ask(Replay(id=2, cursor=cursor)))
    await asyncio.sleep(0.01)
    assert not asking.done()
    catching_up.go_on.set()
    await asking
    async with asyncio.timeout(WAIT):
        while not any(frame.get("id") == 2 for frame in client.frames):
            await asyncio.sleep(0.001)
    seen = [
        (frame["position"][1], "replayed" in frame) if frame["type"] == "message" else frame["id"]
        for frame in client.frames
    ]
    first = [(1, True), (2, True), (3, True), 1]
    assert seen == [*first, (4, False), (5, False), (3, True), (4, True), (5, True), 2]


async def test_a_request_does_not_wait_for_ever_for_that(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_module, "LEVEL_DEADLINE", 0.01)
    await publish(hub, *["user.1.a"] * 3)
    catching_up = CatchingUp(hub, monkeypatch)
    client = await catching_up.client()
    await client.ask(Replay(id=2, cursor={}))
    assert (await client.until("error"))["code"] == "RATE_LIMITED"
    catching_up.go_on.set()


async def test_while_a_replay_goes_out_another_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(hub, *["user.1.a"] * 3)
    client = await client_of(hub, "user.1.*")
    cursor = {"epoch": hub.identity.epoch, "offsets": {}}
    await client.ask(Replay(id=1, cursor=cursor))
    await client.ask(Replay(id=2, cursor=cursor))
    assert ((await client.until("error"))["id"], client.frames[0]["type"]) == (2, "error")
    assert (await client.until("replay_complete"))["id"] == 1


# --- Too much at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["replay", "subscribe"])
async def test_where_too_many_replay_another_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(turns_module, "LINE", 0)
    client = await client_of(hub, "user.1.a")
    if kind == "replay":
        await client.ask(Replay(id=7, cursor={}))
    else:
        options = SubscriptionOptions(since={"last": 2})
        await client.ask(Subscribe(id=7, topic="user.1.b", options=options))
    error = await client.until("error")
    assert (error["id"], error["code"], error["temporary"]) == (7, "RATE_LIMITED", True)
    assert error["retryAfter"] > 0
    assert not await in_database(Subscription.objects.exists)


@pytest.mark.parametrize("kind", ["replay", "subscribe"])
async def test_who_asks_too_often_is_refused_for_a_while(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, settings: Any, kind: str
) -> None:
    monkeypatch.setattr(replays_module, "BURST", 3)
    monkeypatch.setattr(replays_module, "RATE", 0.001)
    client = await client_of(hub, "user.1.a")

    async def asked(number: int) -> tuple[str, Any]:
        before = len(client.frames)
        options = SubscriptionOptions(since={"last": 2})
        request = Subscribe(id=number, topic=f"user.1.t{number}", options=options)
        await client.ask(Replay(id=number, cursor={}) if kind == "replay" else request)
        await client.until_another(before)
        frame = client.frames[-1]
        if frame["type"] == "subscribed":
            frame = await client.until_another(len(client.frames))
        return frame["type"], frame.get("retryAfter", 0) > 0

    answers = [await asked(number) for number in range(4)]
    assert answers == [("replay_complete", False)] * 3 + [("error", True)]
    assert client.frames[-1]["code"] == "RATE_LIMITED"
    settings.NOTIFICATIONS = {**settings.NOTIFICATIONS, "RATE_LIMITS": False}
    assert await asked(5) == ("replay_complete", False)


async def test_a_resume_that_cannot_be_served_comes_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await client_of(hub, "user.1.a")
    await publish(hub, "user.1.a")
    hub.pages.clear()
    monkeypatch.setattr(turns_module, "LINE", 0)
    through = hub.detach(client.connection.subscriber)
    client.connection.replays.start(ZERO, through, request_id=1, after_resume=True)
    disconnect = await client.until("disconnect")
    assert (disconnect["code"], disconnect["reconnect"]) == (1013, True)
    assert disconnect["retryAfter"] > 0


# --- Who comes late -----------------------------------------------------------------------------


async def test_an_older_socket_that_is_answered_later_takes_nothing_from_the_newer(
    hub: Hub,
) -> None:
    newer, older = await client_of(hub), await client_of(hub)
    handle, principal = uuid.uuid4(), newer.connection.principal
    assert principal is not None
    process: Any = newer.connection.process
    older.connection.process = process
    newer.connection.opened(principal, "test", handle, 3)
    opened = OpenedSession(
        handle=handle, secret="x", connects=2, resumed=True, subscriptions=(), replaced=None
    )

    async def late(credentials: object) -> Any:
        return principal, opened, None

    process.openings = SimpleNamespace(ask=late)
    older.connection.conversation.state = State.AUTHENTICATING
    await authenticate(older.connection, Auth(token="x", client_id="test"))
    assert process.by_handle == {handle: newer.connection}
    assert (await older.until("websocket.close"))["code"] == 4504
    assert not newer.connection.is_closing
