"""The state that outlives the process: storages, restarts, orphans."""

import asyncio
import json
from typing import Any

import pytest

from bellwether_client import Last, MemoryStorage, SubscriptionOptions, entry
from tests.client.fake_server import NOW, cursor, held
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, settle, wait

KEY = "bellwether.ws://server/ws"


async def kept(storage: MemoryStorage) -> Any:
    text = await storage.get(KEY)
    return None if text is None else json.loads(text)


async def first_run(storage: MemoryStorage, **options: Any) -> None:
    """Handle 5, and begin 6."""
    world = World(storage=storage)
    handler = Handler()
    world.client.subscribe("a.*", handler, SubscriptionOptions(**options))
    socket = await world.connected(cursor=cursor(p0=4))
    request = await socket.expect("subscribe")
    grant(socket, request)
    if options:
        complete(socket, request["id"], cursor=cursor(p0=4))
    deliver(socket, 5)
    await settle()
    handler.goes_on.clear()
    deliver(socket, 6)
    await wait(300)
    await world.client.disconnect()


@virtual
async def test_what_is_kept() -> None:
    storage = MemoryStorage()
    await first_run(storage)
    state = await kept(storage)
    (subscription,) = state.pop("subscriptions")
    assert subscription.pop("createdAt").endswith("Z")
    assert subscription == {"topic": "a.*", "options": {}}
    assert state == {
        "version": 1,
        "clientId": "python-id1",
        "sessionId": "s1",
        "cursor": cursor(p0=5),
    }


@virtual
async def test_it_is_kept_at_each_change_and_now_and_then_when_the_cursor_moves() -> None:
    storage = MemoryStorage()
    async with World(storage=storage) as world:
        subscription = world.client.subscribe("a.*", Handler())
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        await settle()
        assert len((await kept(storage))["subscriptions"]) == 1
        await wait(300)
        deliver(socket, 1)
        await settle()
        assert (await kept(storage))["cursor"] == cursor()
        await wait(251)
        assert (await kept(storage))["cursor"] == cursor(p0=1)
        subscription.unsubscribe()
        await settle()
        assert (await kept(storage))["subscriptions"] == []


@virtual
async def test_a_restart_resumes_where_the_handlers_were() -> None:
    storage = MemoryStorage()
    await first_run(storage)
    async with World(storage=storage) as world:
        handler = Handler()
        subscription = world.client.subscribe("a.*", handler)
        socket = await world.connected(resumed=True, subscriptions=[held("a.*")])
        assert world.hello["clientId"] == "python-id1"
        assert world.hello["resume"] == {"sessionId": "s1", "cursor": cursor(p0=5)}
        await subscription.ready()
        deliver(socket, 6, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=6))
        await settle()
        assert handler.payloads == [6]
        assert world.told("orphan") == []


@virtual
async def test_an_orphan_is_told_and_its_messages_wait_for_a_handler() -> None:
    storage = MemoryStorage()
    await first_run(storage)
    async with World(storage=storage) as world:
        socket = await world.connected(resumed=True, subscriptions=[held("a.*")])
        deliver(socket, 6, replayed=True)
        complete(socket, count=1, cursor=cursor(p0=6))
        deliver(socket, 7)
        await settle()
        (orphan,) = world.told("orphan")
        assert (orphan.topic, world.client.get_stats().waiting) == ("a.*", 2)
        assert world.client.get_cursor().offsets == {"0": 5}  # type: ignore[union-attr]
        handler = Handler()
        await world.client.subscribe("a.*", handler).ready()
        deliver(socket, 8)
        await settle()
        assert handler.payloads == [6, 7, 8]
        assert world.client.get_cursor().offsets == {"0": 8}  # type: ignore[union-attr]
        orphan.unsubscribe()  # it is none any more
        assert socket.sent()[-1]["type"] != "unsubscribe"


@virtual
async def test_an_orphan_can_be_ended() -> None:
    async with World() as world:
        socket = await world.connected(subscriptions=[held("a.*", "sub5")])
        deliver(socket, 1)
        await settle()
        world.told("orphan")[0].unsubscribe()
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub5"
        assert world.client.get_cursor().offsets == {"0": 1}  # type: ignore[union-attr]


@virtual
async def test_the_oldest_of_an_orphan_is_let_go_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "ORPHAN_BOUND", 2)
    async with World() as world:
        socket = await world.connected(subscriptions=[held("a.*")])
        deliver(socket, 1, 2, 3, 4)
        await settle()
        (gap,) = world.told("gap")
        assert (gap.reason, gap.topic) == ("NO_HANDLER", "a.*")
        handler = Handler()
        world.client.subscribe("a.*", handler)
        await settle()
        assert handler.payloads == [3, 4]


@virtual
async def test_what_the_server_forgot_is_asked_for_again_after_a_restart() -> None:
    storage = MemoryStorage()
    await first_run(storage)
    async with World(storage=storage) as world:
        socket = await world.connected(sessionId="s2", cursor=cursor(p0=9))
        request = await socket.expect("replay")
        complete(socket, request["id"], cursor=cursor(p0=9))
        request = await socket.expect("subscribe")
        assert (request["topic"], request["options"]) == ("a.*", {"since": cursor(p0=5)})
        grant(socket, request, "sub2")
        await settle()
        assert [event.topic for event in world.told("orphan")] == ["a.*"]


@virtual
async def test_since_counts_once_over_restarts_and_always_without_a_storage() -> None:
    storage = MemoryStorage()
    since = SubscriptionOptions(since=Last(count=5))
    await first_run(storage, since=Last(count=5))
    row = held("a.*", since={"last": 5})
    async with World(storage=storage) as world:
        subscription = world.client.subscribe("a.*", Handler(), since)
        socket = await world.connected(resumed=True, subscriptions=[row])
        await subscription.ready()
        await settle()
        assert [frame["type"] for frame in socket.sent()] == ["verify"]
    async with World(client_id="c") as world:
        world.client.subscribe("a.*", Handler(), since)
        socket = await world.connected(subscriptions=[row])
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        assert (await socket.expect("subscribe"))["options"] == {"since": {"last": 5}}


@pytest.mark.parametrize("when", ["before", "after"])
@virtual
async def test_a_since_that_changed_over_a_restart_changes_nothing_of_what_has_begun(
    when: str,
) -> None:
    storage = MemoryStorage()
    await first_run(storage, since=Last(count=5))
    async with World(storage=storage) as world:
        changed = SubscriptionOptions(since=Last(count=9))
        if when == "before":
            world.client.subscribe("a.*", Handler(), changed)
        row = held("a.*", since={"last": 5})
        socket = await world.connected(resumed=True, subscriptions=[row])
        complete(socket)
        if when == "after":
            world.client.subscribe("a.*", Handler(), changed)
        await settle()
        assert [frame["type"] for frame in socket.sent()] == ["verify"]


@virtual
async def test_the_state_of_another_client_is_left_alone() -> None:
    storage = MemoryStorage()
    await storage.set("bellwether.me", json.dumps({"version": 1, "clientId": "you"}))
    async with World(storage=storage, client_id="me") as world:
        await world.connected()
        assert world.hello["clientId"] == "me"
        assert "resume" not in world.hello


@pytest.mark.parametrize("text", ["{", "[]", '{"version":1}', '{"version":1,"clientId":7}'])
@virtual
async def test_a_state_that_cannot_be_read_is_told_and_done_without(text: str) -> None:
    storage = MemoryStorage()
    await storage.set(KEY, text)
    async with World(storage=storage) as world:
        await world.connected()
        assert len(world.told("storage_failed")) == 1
        assert await storage.get(KEY) == text


@virtual
async def test_a_state_of_a_later_version_is_not_read() -> None:
    storage = MemoryStorage()
    await storage.set(KEY, '{"version":2}')
    async with World(storage=storage) as world:
        await world.connected()
        assert world.told("storage_failed") == []


@virtual
async def test_a_storage_that_fails_is_told_once_and_done_without() -> None:
    class Broken(MemoryStorage):
        async def set(self, key: str, text: str) -> None:
            raise OSError("disk full")

    async with World(storage=Broken()) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 1)
        await wait(1_000)
        assert handler.payloads == [1]
        assert [str(event.error) for event in world.told("storage_failed")] == ["disk full"]


@virtual
async def test_a_storage_that_hangs_holds_up_neither_the_start_nor_the_end() -> None:
    class Hanging(MemoryStorage):
        async def get(self, key: str) -> str | None:
            await asyncio.Event().wait()
            return None

    class Full(MemoryStorage):
        async def set(self, key: str, text: str) -> None:
            await asyncio.Event().wait()

    for storage in (Hanging(), Full()):
        async with World(storage=storage) as world:
            await world.connected()
            await world.client.disconnect()
            (told,) = world.told("storage_failed")
            assert "did not answer in 10 s" in str(told.error)


@virtual
async def test_one_write_at_a_time_whoever_ends_the_client() -> None:
    writing = most = 0

    class Slow(MemoryStorage):
        async def set(self, key: str, text: str) -> None:
            nonlocal writing, most
            writing += 1
            most = max(most, writing)
            await wait(100)
            writing -= 1

    async with World(storage=Slow()) as world:
        await world.connected()
        await asyncio.gather(world.client.disconnect(), world.client.disconnect())
    assert most == 1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"server_filter": {"eq": ["payload.a", 1]}}, {"server_filter": {"eq": ["payload.b", 2]}}),
        ({"max_replay_age": 1_000}, {"max_replay_age": 2_000}),
        ({"server_filter": {"eq": ["payload.a", 1]}}, {}),
    ],
)
@virtual
async def test_options_that_changed_over_a_restart_reach_the_server_without_loss_or_repeat(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    storage = MemoryStorage()
    await first_run(storage, **before)
    old, new = SubscriptionOptions(**before).to_wire(), SubscriptionOptions(**now)
    async with World(storage=storage) as world:
        handler = Handler()
        world.client.subscribe("a.*", handler, new)
        timestamp = NOW  # new enough for any age: the clock of the test is before it
        socket = await world.connected(
            resumed=True, cursor=cursor(p0=5), subscriptions=[held("a.*", **old)]
        )
        assert (await socket.expect("unsubscribe"))["subscriptionId"] == "sub1"
        # The replay of the resume was on its way.
        deliver(socket, 6, replayed=True, timestamp=timestamp)
        complete(socket, count=1, cursor=cursor(p0=7))
        request = await socket.expect("subscribe")
        assert request["options"] == new.to_wire() | {"since": cursor(p0=5)}
        grant(socket, request, "sub2")
        deliver(socket, 6, 7, replayed=True, timestamp=timestamp)
        complete(socket, request["id"], count=2, cursor=cursor(p0=7))
        deliver(socket, 8)
        await settle()
        assert handler.payloads == [6, 7, 8]
        assert world.client.get_cursor().offsets == {"0": 8}  # type: ignore[union-attr]
