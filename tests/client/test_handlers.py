"""Handlers: one message after the other, whatever they do."""

import asyncio
from typing import Any

import pytest

from bellwether_client import NotificationMessage, Subscription, SubscriptionOptions, backlog
from tests.client.fake_server import cursor, held
from tests.client.memory import MemorySocket
from tests.client.virtual import virtual
from tests.client.world import Handler, World, complete, deliver, grant, settle, wait

Message = NotificationMessage[Any]


async def subscribed(
    world: World, *handlers: Any, topic: str = "a.*", **options: Any
) -> MemorySocket:
    """Connect, with all handlers on one topic."""
    for handler in handlers:
        world.client.subscribe(topic, handler, SubscriptionOptions(**options))
    socket = await world.connected()
    grant(socket, await socket.expect("subscribe"))
    await settle()
    return socket


@virtual
async def test_the_next_call_waits_for_the_end_of_the_last() -> None:
    async with World() as world:
        running: list[str] = []

        async def handler(message: Message) -> None:
            running.append(f"begin {message.payload}")
            await wait(50)
            running.append(f"end {message.payload}")

        socket = await subscribed(world, handler)
        deliver(socket, 1, 2, 3)
        await wait(200)
        assert running == [f"{what} {number}" for number in (1, 2, 3) for what in ("begin", "end")]


@virtual
async def test_subscriptions_do_not_wait_for_each_other_but_the_cursor_does() -> None:
    async with World() as world:
        slow, quick, plain = Handler(), Handler(), []
        slow.goes_on.clear()
        socket = await subscribed(world, slow, quick, lambda message: plain.append(message.payload))
        deliver(socket, 1, 2)
        await settle()
        assert (slow.payloads, quick.payloads, plain) == ([1], [1, 2], [1, 2])
        assert world.client.get_cursor().offsets == {}  # type: ignore[union-attr]
        assert world.client.get_stats().waiting == 1
        slow.goes_on.set()
        await settle()
        assert world.client.get_cursor().offsets == {"0": 2}  # type: ignore[union-attr]


@virtual
async def test_errors_go_to_on_error_or_are_an_event_and_break_nothing() -> None:
    async with World() as world:
        noted: list[Any] = []
        failing = Handler(fails=(1,))
        socket = await subscribed(world, failing)
        world.client.subscribe(
            "a.b",
            Handler(fails=(1,)),
            SubscriptionOptions(on_error=lambda error, message: noted.append(message.payload)),
        )
        grant(socket, await socket.expect("subscribe"), "sub2")
        await settle()
        deliver(socket, 1, 2)
        await settle()
        (told,) = world.told("handler_error")
        assert (str(told.error), told.message.payload) == ("cannot take 1", 1)
        assert noted == [1]
        assert failing.payloads == [1, 2]
        assert world.client.get_cursor().offsets == {"0": 2}  # type: ignore[union-attr]


@virtual
async def test_an_error_handler_or_a_filter_that_fails_is_an_event() -> None:
    async with World() as world:

        def worse(error: Exception, message: Message) -> None:
            raise KeyError("worse")

        def choose(message: Message) -> bool:
            if message.payload == 2:
                raise ValueError("cannot choose")
            return bool(message.payload != 1)

        handler = Handler(fails=(3,))
        socket = await subscribed(world, handler, filter=choose, on_error=worse)
        deliver(socket, 1, 2, 3, 4)
        await settle()
        assert handler.payloads == [3, 4]
        assert [type(event.error) for event in world.told("handler_error")] == [KeyError, KeyError]


@virtual
async def test_a_handler_that_was_cancelled_by_somebody_else_has_failed() -> None:
    async with World() as world:
        noted = []

        async def handler(message: Message) -> None:
            noted.append(message.payload)
            raise asyncio.CancelledError

        socket = await subscribed(world, handler)
        deliver(socket, 1, 2)
        await settle()
        assert noted == [1, 2]
        assert len(world.told("handler_error")) == 2


@virtual
async def test_unsubscribing_itself_lets_go_what_waits() -> None:
    async with World() as world:
        seen = []
        subscription: Subscription

        async def handler(message: Message) -> None:
            seen.append(message.payload)
            await wait(10)
            subscription.unsubscribe()

        subscription = world.client.subscribe("a.*", handler)
        socket = await world.connected()
        grant(socket, await socket.expect("subscribe"))
        deliver(socket, 1, 2, 3)
        await socket.expect("unsubscribe")
        await settle()
        assert seen == [1]
        assert not subscription.is_active()
        assert world.client.get_stats().waiting == 0
        assert world.client.get_cursor().offsets == {"0": 3}  # type: ignore[union-attr]


@virtual
async def test_a_handler_may_subscribe_publish_and_disconnect() -> None:
    async with World() as world:
        inner = Handler()

        async def handler(message: Message) -> None:
            if message.payload == 1:
                world.client.subscribe("b", inner)
                published = await world.client.publish("c", message.payload)
                assert published.id == "m"
            else:
                await world.client.disconnect()

        socket = await subscribed(world, handler)
        deliver(socket, 1, 2)
        grant(socket, await socket.expect("subscribe"), "sub2")
        request = await socket.expect("publish")
        socket.push(
            "published",
            id=request["id"],
            messageId="m",
            topic="c",
            timestamp="2030-01-01T00:00:00.000Z",
        )
        assert await socket.until_closed() == 1000
        assert world.told("handler_error") == []


@virtual
async def test_over_the_bound_the_connection_is_dropped_until_half_is_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "WAITING_BOUND", 10)
    async with World() as world:
        handler = Handler()
        handler.goes_on.clear()
        socket = await subscribed(world, handler)
        deliver(socket, *range(1, 20))
        await wait(10_000)
        assert not socket.is_open
        assert world.client.get_stats().waiting == 11
        assert world.statuses()[-1] == "reconnecting"
        assert world.client.get_stats().failures[-1].reason == "client_initiated"
        handler.goes_on.set()
        socket = await world.accept(resumed=True, subscriptions=[held("a.*")])
        assert world.hello["resume"]["cursor"]["offsets"]["0"] >= 6
        deliver(socket, *range(7, 20), replayed=True)
        complete(socket, count=13, cursor=cursor(p0=19))
        await settle()
        assert handler.payloads == list(range(1, 20))


@virtual
async def test_messages_have_dates_and_metadata() -> None:
    async with World() as world:
        handler = Handler()
        socket = await subscribed(world, handler)
        metadata = {"priority": "high", "expiresAt": "2031-01-01T00:00:00Z", "source": "shop"}
        deliver(socket, 5, metadata=metadata, replayed=True)
        await settle()
        (message,) = handler.messages
        assert message.timestamp.isoformat() == "2030-01-01T00:00:00+00:00"
        assert (message.seq, message.position, message.replayed) == (5, (0, 5), True)
        assert message.metadata is not None
        assert message.metadata.priority == "high"
        assert message.metadata.expires_at is not None
        assert message.metadata.expires_at.year == 2031
        assert message.metadata.correlation_id is None


@virtual
async def test_a_handler_for_which_others_wait_is_told_in_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World() as world:
        handler, quick = Handler(), Handler()
        handler.goes_on.clear()
        socket = await subscribed(world, handler, quick)
        deliver(socket, 1, 2)
        await settle()
        await wait(29_000)
        deliver(socket, 3)
        await settle()
        assert caplog.text == ""
        await wait(2_000)
        deliver(socket, 4, 5)
        await settle()
        text = "the handler of a.* has run for 31 s, and 3 messages wait for it"
        assert [record.getMessage() for record in caplog.records] == [text]
        handler.goes_on.set()


@virtual
async def test_the_handlers_because_of_which_the_connection_is_dropped_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backlog, "WAITING_BOUND", 10)
    async with World() as world:
        handler = Handler()
        handler.goes_on.clear()
        socket = await subscribed(world, handler)
        deliver(socket, *range(1, 20))
        await settle()
        text = "the handler of a.* has run for 0 s, and 11 messages wait for it"
        assert [record.getMessage() for record in caplog.records] == [text]
        handler.goes_on.set()
