"""A user's program: python service.py URL KEY"""

import asyncio
import sys

from bellwether_client import (
    NotificationClient,
    NotificationClientConfig,
    NotificationMessage,
    SubscriptionOptions,
)


async def main(url: str, key: str) -> None:
    """Print two messages, answer them, and end."""
    both = asyncio.Event()
    count = 0

    async def handle(message: NotificationMessage[dict[str, str]]) -> None:
        nonlocal count
        print(message.topic, message.payload["text"], flush=True)
        count += 1
        if count == 2:
            both.set()

    options = SubscriptionOptions(filter=lambda message: message.topic == "user.7.orders")
    async with NotificationClient(NotificationClientConfig(url=url, auth=key)) as client:
        subscription = client.subscribe("user.7.*", handle, options)
        await subscription.ready()
        print("ready", flush=True)
        await both.wait()
        payload = {"text": "thanks"}
        await client.publish("user.7.replies", payload, idempotency_key="only-once")
        print("published", flush=True)
    print(client.get_connection_state().status, flush=True)


asyncio.run(main(*sys.argv[1:]))
