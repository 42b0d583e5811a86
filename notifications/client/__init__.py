"""The Python client: asyncio, no Django. It needs `websockets` and `msgspec` only.

::

    async with NotificationClient("wss://example.org/ws", token=key) as client:
        await client.subscribe("user.7.*")
        async for message in client:
            print(message.topic, message.payload)

It reconnects by itself and says in events what happened meanwhile; docs/protocol.md is the
contract that it keeps.
"""

from notifications.client.client import NotificationClient
from notifications.client.connection import ConnectionEnded
from notifications.client.inbox import Event, Message
from notifications.protocol.frames import Cursor, ReplayComplete, SubscriptionOptions

__all__ = [
    "ConnectionEnded",
    "Cursor",
    "Event",
    "Message",
    "NotificationClient",
    "ReplayComplete",
    "SubscriptionOptions",
]
