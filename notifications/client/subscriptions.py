"""What this client is subscribed to: kept by the server too, and made anew where it is not."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from notifications.client.connection import ConnectionEnded
from notifications.client.inbox import Event
from notifications.client.requests import Requests
from notifications.errors import AlreadySubscribed, NotificationError, UnknownSubscription
from notifications.protocol.frames import (
    HeldSubscription,
    Subscribe,
    Subscribed,
    SubscriptionOptions,
    Unsubscribe,
    Unsubscribed,
)


class Subscriptions:
    """The subscriptions that the application asked for, by pattern."""

    def __init__(self, requests: Requests, *, tell: Callable[[Event], None]) -> None:
        self._requests = requests
        self._tell = tell
        self._ids: dict[str, str] = {}
        self._options: dict[str, SubscriptionOptions | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, pattern: str, options: SubscriptionOptions | None) -> str:
        """Subscribe and return the id; raises NotificationError and ConnectionEnded."""
        try:
            reply = await self._requests.ask(
                lambda number: Subscribe(id=number, topic=pattern, options=options)
            )
            assert isinstance(reply, Subscribed)
            subscription_id = reply.subscription_id
        except AlreadySubscribed as error:
            subscription_id = str((error.data or {})["subscriptionId"])
            self._ids[pattern] = subscription_id
        self._options[pattern] = options
        return subscription_id

    def begun(self, frame: Subscribed) -> None:
        """Note a subscription as soon as its reply is read: the frame behind it may end it."""
        self._ids[frame.topic] = frame.subscription_id

    async def remove(self, pattern: str) -> None:
        """Unsubscribe; raises KeyError when there is no subscription to this pattern."""
        subscription_id = self._ids.pop(pattern)
        self._options.pop(pattern, None)
        try:
            await self._requests.ask(
                lambda number: Unsubscribe(id=number, subscription_id=subscription_id)
            )
        except UnknownSubscription:
            pass  # an attempt whose answer was lost had ended it

    def id_of(self, pattern: str) -> str:
        """Return the id of the subscription to a pattern; raises KeyError without one."""
        return self._ids[pattern]

    def restore(self, held: Iterable[HeldSubscription]) -> None:
        """Subscribe again to what the server does not hold any more."""
        ids = {row.topic: row.subscription_id for row in held}
        for pattern in self._ids:
            if pattern in ids:
                self._ids[pattern] = ids[pattern]
                continue
            task = asyncio.create_task(self._add_anew(pattern))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def ended_by_server(self, frame: Unsubscribed) -> None:
        """Note that the server ended a subscription."""
        for pattern, subscription_id in list(self._ids.items()):
            if subscription_id == frame.subscription_id:
                self._drop(pattern, frame.code or "", frame.reason or "ended by the server")

    async def close(self) -> None:
        """Stop subscribing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _add_anew(self, pattern: str) -> None:
        options = self._options.get(pattern)
        if options is not None:
            # What `since` asked for came when the subscription was new: not all of it again.
            options = msgspec.structs.replace(options, since=None)
        try:
            await self.add(pattern, options)
        except NotificationError as error:
            self._drop(pattern, error.code, error.message)
        except ConnectionEnded:
            pass  # the application hears of it from the stream

    def _drop(self, pattern: str, code: str, reason: str) -> None:
        self._ids.pop(pattern, None)
        self._options.pop(pattern, None)
        text = f"the subscription to {pattern} ended: {reason}"
        self._tell(Event("unsubscribed", text, {"pattern": pattern, "code": code}))
