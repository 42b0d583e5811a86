"""How a typed application is written: all of it passes mypy --strict; what is marked is refused.

`--warn-unused-ignores` makes each mark a check: a mistake that were accepted is an error.
"""

from datetime import datetime
from typing import assert_never, assert_type

from bellwether_client import (
    ClientEvent,
    ConnectionError,
    ConnectionState,
    ConnectionStats,
    DisconnectReason,
    NotificationClient,
    NotificationClientConfig,
    NotificationError,
    NotificationMessage,
    QueueConfig,
    RetryConfig,
    Subscription,
    SubscriptionOptions,
)


async def fetch_token() -> str:
    return "token"


complete = NotificationClientConfig(
    url="wss://example.org/ws",
    auth=fetch_token,
    heartbeat_interval=30_000,
    heartbeat_timeout=5_000,
    retry_config=RetryConfig(
        max_retries=10, initial_delay=1_000, max_delay=30_000, backoff_multiplier=2, jitter=True
    ),
    queue_config=QueueConfig(max_size=1_000, max_age=300_000, overflow_strategy="drop-oldest"),
    debug=False,
)


def describe(state: ConnectionState) -> str:
    """Each state has its own fields, and there is no fifth."""
    match state.status:
        case "disconnected":
            assert_type(state.reason, DisconnectReason | None)
            return state.reason or "never connected"
        case "connecting":
            return f"try {state.attempt}"
        case "connected":
            return f"{state.server_id}, {state.latency} ms"
        case "reconnecting":
            return f"{state.last_error}, again at {state.next_retry_at}"
        case never:
            assert_never(never)


async def use() -> None:
    """What the original design has, in snake_case."""

    async def handle(message: NotificationMessage[dict[str, int]]) -> None:
        print(message.payload["id"] + 1)

    def handle_anything(message: NotificationMessage[object]) -> None:
        assert_type(message.timestamp, datetime)
        print(message.metadata.priority if message.metadata else None)

    def complain(error: Exception, message: NotificationMessage[object]) -> None:
        print(message.id, error)

    async with NotificationClient(complete) as client:
        client.on_state_change(lambda state: print(describe(state)))
        subscription = client.subscribe("user.7.orders", handle)
        assert_type(subscription, Subscription)
        options = SubscriptionOptions(
            filter=lambda message: message.topic != "user.7.noise",
            on_error=complain,
            replay_missed=True,
            max_replay_age=60_000,
        )
        client.subscribe("user.7.*", handle_anything, options)
        try:
            await subscription.ready()
            published = await client.publish("user.7.orders", {"id": 1}, priority="high")
            assert_type(published.id, str)
        except NotificationError as error:
            assert_type(error.code, str)
            print(error.retry_after)
        except ConnectionError as error:
            assert_type(error.reason, DisconnectReason)
            assert_type(error.status, int | None)
        assert_type(client.get_stats(), ConnectionStats)
        if subscription.is_active():
            subscription.unsubscribe()


async def forgotten(event: ClientEvent) -> None:
    """A listener that nobody would await."""


async def mistakes(client: NotificationClient, state: ConnectionState) -> None:
    """What a type checker has to refuse."""
    NotificationClientConfig(url="wss://example.org/ws")  # type: ignore[call-arg]
    QueueConfig(max_size=1, max_age=1, overflow_strategy="drop-some")  # type: ignore[arg-type]
    SubscriptionOptions(replaymissed=True)  # type: ignore[call-arg]
    client.subscribe("user.7.*")  # type: ignore[call-arg]
    client.subscribe(7, print)  # type: ignore[arg-type]
    client.on_event(forgotten)  # type: ignore[arg-type]
    complete.url = "ws://elsewhere"  # type: ignore[misc]
    print(state.latency)  # type: ignore[union-attr]
    await client.publish("a", 1, priority="higher")  # type: ignore[arg-type]
