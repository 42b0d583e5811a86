"""What this client is subscribed to: kept by the server too, and made anew where it is not."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from notifications.client.connection import ConnectionEnded
from notifications.client.inbox import Event
from notifications.client.requests import Requests, wait_before_asking_again
from notifications.errors import AlreadySubscribed, NotificationError, UnknownSubscription
from notifications.protocol.frames import (
    HeldSubscription,
    RequestId,
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
        self._restoring: dict[str, asyncio.Task[None]] = {}
        self._since: dict[str, int] = {}
        """Requests for what was published before, and has not all come yet, by their pattern."""
        self._missed: dict[str, int] = {}
        """The same of `replay_missed`, which begins anew with each connection."""

    async def add(self, pattern: str, options: SubscriptionOptions | None) -> str:
        """Subscribe and return the id; raises NotificationError and ConnectionEnded.

        What `since` asks for comes again from the first when the connection is lost before all of
        it has come.
        """
        try:
            subscription_id = await self._subscribe(pattern, options)
        except NotificationError:
            self._forget_asked(pattern)
            raise
        self._options[pattern] = options
        return subscription_id

    async def _subscribe(self, pattern: str, options: SubscriptionOptions | None) -> str:
        since = options is not None and options.since is not None

        def frame(number: int) -> Subscribe:
            if since:
                self._since[pattern] = number
            elif options is not None and options.replay_missed:
                self._missed[pattern] = number
            return Subscribe(id=number, topic=pattern, options=options)

        while True:
            try:
                reply = await self._requests.ask(frame)
            except AlreadySubscribed as error:
                subscription_id = str((error.data or {})["subscriptionId"])
                if not since:
                    self._missed.pop(pattern, None)  # no replay comes with it
                    self._ids[pattern] = subscription_id
                    return subscription_id
                # What `since` asks for comes with a new subscription only.
                self._ids.pop(pattern, None)
                await self._unsubscribe(subscription_id)
            else:
                assert isinstance(reply, Subscribed)
                return reply.subscription_id

    def begun(self, frame: Subscribed) -> None:
        """Note a subscription as soon as its reply is read: the frame behind it may end it."""
        self._ids[frame.topic] = frame.subscription_id

    def replayed(self, request_id: RequestId | None) -> None:
        """Note that what a request asked for has come."""
        for asked in (self._since, self._missed):
            for pattern, number in list(asked.items()):
                if number == request_id:
                    del asked[pattern]

    def _forget_asked(self, pattern: str) -> None:
        self._since.pop(pattern, None)
        self._missed.pop(pattern, None)

    async def remove(self, pattern: str) -> None:
        """Unsubscribe; raises KeyError when there is no subscription to this pattern."""
        subscription_id = self._ids.pop(pattern)
        self._options.pop(pattern, None)
        self._forget_asked(pattern)
        await self._unsubscribe(subscription_id)

    async def _unsubscribe(self, subscription_id: str) -> None:
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
        """Subscribe again to what the server does not hold any more, or has not sent in full."""
        for pattern in self._missed:
            text = f"messages may be missing: the replay of {pattern} was cut off"
            self._tell(Event("gap", text, {"reason": "CONNECTION_LOST", "pattern": pattern}))
        self._missed.clear()
        ids = {row.topic: row.subscription_id for row in held}
        for pattern in self._ids:
            if pattern in ids:
                self._ids[pattern] = ids[pattern]
            if pattern in self._restoring or (pattern in ids and pattern not in self._since):
                continue
            task = asyncio.create_task(self._add_anew(pattern))
            self._restoring[pattern] = task
            task.add_done_callback(partial(self._restored, pattern))

    def _restored(self, pattern: str, task: asyncio.Task[None]) -> None:
        del self._restoring[pattern]

    def ended_by_server(self, frame: Unsubscribed) -> None:
        """Note that the server ended a subscription."""
        for pattern, subscription_id in list(self._ids.items()):
            if subscription_id == frame.subscription_id:
                self._drop(pattern, frame.code or "", frame.reason or "ended by the server")

    async def close(self) -> None:
        """Stop subscribing."""
        tasks = list(self._restoring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _add_anew(self, pattern: str) -> None:
        told = False
        while pattern in self._options:
            options = self._options[pattern]
            if options is not None and pattern not in self._since:
                # What `since` asked for came when the subscription was new: not all of it again.
                options = msgspec.structs.replace(options, since=None)
            try:
                subscription_id = await self._subscribe(pattern, options)
                if pattern not in self._options:  # removed meanwhile
                    self._ids.pop(pattern, None)
                    await self._unsubscribe(subscription_id)
                return
            except NotificationError as error:
                if not error.temporary:
                    self._drop(pattern, error.code, error.message)
                    return
                if not told:
                    told = True
                    self._tell_later(pattern, error)
                await asyncio.sleep(wait_before_asking_again(error))
            except ConnectionEnded:
                return  # the application hears of it from the stream

    def _tell_later(self, pattern: str, error: NotificationError) -> None:
        text = f"the subscription to {pattern} is not in force yet: {error.message}"
        self._tell(Event("error", text, {"pattern": pattern, "code": error.code}))

    def _drop(self, pattern: str, code: str, reason: str) -> None:
        self._ids.pop(pattern, None)
        self._options.pop(pattern, None)
        self._forget_asked(pattern)
        text = f"the subscription to {pattern} ended: {reason}"
        self._tell(Event("unsubscribed", text, {"pattern": pattern, "code": code}))
