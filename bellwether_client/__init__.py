"""The Python client of Bellwether: asyncio, typed, in need of `websockets` only.

::

    config = NotificationClientConfig(url="wss://example.org/ws", auth=fetch_token)
    async with NotificationClient(config) as client:
        await client.publish("user.7.orders", {"state": "paid"})
        async with client.stream("user.7.*") as messages:
            async for message in messages:
                print(message.topic, message.payload)

It reconnects by itself, resumes where its handlers had come, and says in events what happened.
"""

from bellwether_client.breaker import Circuit
from bellwether_client.client import NotificationClient
from bellwether_client.codes import DisconnectReason
from bellwether_client.config import (
    BatchConfig,
    CircuitBreakerConfig,
    Last,
    NotificationClientConfig,
    QueueConfig,
    RetryConfig,
    SubscriptionOptions,
)
from bellwether_client.cursor import Cursor, Position
from bellwether_client.errors import ConnectionError, NotificationError
from bellwether_client.events import (
    CircuitChanged,
    ClientEvent,
    ConnectionEnded,
    Gap,
    HandlerError,
    Orphan,
    Recovered,
    ServerError,
    StorageFailed,
    SubscriptionEnded,
    UnreadableFrame,
)
from bellwether_client.handle import Subscription
from bellwether_client.messages import (
    MessageErrorHandler,
    MessageHandler,
    MessageMetadata,
    NotificationMessage,
    Priority,
    PublishedMessage,
    ReplayResult,
)
from bellwether_client.states import (
    Connected,
    Connecting,
    ConnectionState,
    Disconnected,
    Reconnecting,
)
from bellwether_client.statistics import ConnectionStats, Failure
from bellwether_client.storage import FileStorage, MemoryStorage, Storage
from bellwether_client.stream import MessageStream
from bellwether_client.topics import is_pattern, pattern_problem, topic_problem
from bellwether_client.version import VERSION as __version__

__all__ = [
    "BatchConfig",
    "Circuit",
    "CircuitBreakerConfig",
    "CircuitChanged",
    "ClientEvent",
    "Connected",
    "Connecting",
    "ConnectionEnded",
    "ConnectionError",
    "ConnectionState",
    "ConnectionStats",
    "Cursor",
    "DisconnectReason",
    "Disconnected",
    "Failure",
    "FileStorage",
    "Gap",
    "HandlerError",
    "Last",
    "MemoryStorage",
    "MessageErrorHandler",
    "MessageHandler",
    "MessageMetadata",
    "MessageStream",
    "NotificationClient",
    "NotificationClientConfig",
    "NotificationError",
    "NotificationMessage",
    "Orphan",
    "Position",
    "Priority",
    "PublishedMessage",
    "QueueConfig",
    "Reconnecting",
    "Recovered",
    "ReplayResult",
    "RetryConfig",
    "ServerError",
    "Storage",
    "StorageFailed",
    "Subscription",
    "SubscriptionEnded",
    "SubscriptionOptions",
    "UnreadableFrame",
    "__version__",
    "is_pattern",
    "pattern_problem",
    "topic_problem",
]
