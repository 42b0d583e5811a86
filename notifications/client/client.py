"""The client: requests with their replies, subscriptions that last, one stream of messages."""

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import msgspec
from websockets.uri import parse_uri

from notifications.client.acknowledger import Acknowledger
from notifications.client.connection import ConnectionEnded
from notifications.client.inbox import Event, EventKind, Inbox, Message, cursor_of
from notifications.client.link import Link
from notifications.client.requests import Requests, wait_before_asking_again
from notifications.client.subscriptions import Subscriptions
from notifications.client.wire import CodecName, Received, payload_of, wire_of
from notifications.errors import BadFrame, NotificationError, RateLimited
from notifications.protocol.frames import (
    Auth,
    AuthSuccess,
    ClientInfo,
    Cursor,
    Error,
    Gap,
    Metadata,
    Pong,
    Publish,
    Published,
    Refresh,
    Replay,
    ReplayComplete,
    Resume,
    Subscribed,
    SubscriptionOptions,
    TokenExpiring,
    Unsubscribed,
)
from notifications.resilience.backoff import RetryPolicy

Token = str | Callable[[], str | Awaitable[str]]
"""An access token or API key, or a function that gets a fresh one for each connection."""

_INFO = ClientInfo(name="bellwether-python", version="0.1.0", kind="service")

_logger = logging.getLogger("notifications.client")


class NotificationClient:
    """A client of one server; use it with `async with`, and iterate over it for messages.

    url: ws:// or wss://, without the token. client_id: names this running client; with a name of
    its own a program finds its subscriptions again after a restart.
    retry: how reconnects are spaced; the server's advice when None.
    inbox: messages that may wait for the application. on_event: called in the event loop with
    each Event; they are logged when it is None.
    acknowledge: tell the server every few seconds, and before `close`, how far the application is.
    codec: what goes over the socket; it changes no value.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        client_id: str | None = None,
        retry: RetryPolicy | None = None,
        inbox: int = 1_000,
        on_event: Callable[[Event], None] | None = None,
        acknowledge: bool = False,
        codec: CodecName = "json",
    ) -> None:
        parse_uri(url)  # raises InvalidURI to the caller, not in the background
        self._wire = wire_of(codec)
        self.client_id = client_id or f"python-{uuid.uuid4().hex}"
        self._token = token
        self._on_event = on_event or _log
        self._inbox = Inbox(inbox)
        self._link = Link(url, self, self._wire, policy=retry, has_fresh_tokens=callable(token))
        # A full inbox is read past while an answer is awaited, hence the wake-up.
        self._requests = Requests(self._link, on_ask=self._inbox.changed.set)
        self._subscriptions = Subscriptions(self._requests, tell=self._on_event)
        self._acknowledger = Acknowledger(self._link, lambda: self.cursor) if acknowledge else None
        self._session_id: str | None = None
        self._accepted = 0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> Cursor | None:
        """How far the application has come: every message up to it has been handled."""
        return cursor_of(self._inbox.handled)

    async def __aenter__(self) -> Self:
        """Connect; raises ConnectionEnded when that fails for good."""
        self._link.start()
        try:
            await self._link.up()
        except BaseException:
            await self.close()
            raise
        if self._acknowledger is not None:
            self._acknowledger.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    def __aiter__(self) -> Self:
        """Iterate over messages; for one consumer."""
        return self

    async def __anext__(self) -> Message:
        """Return the next message; raises ConnectionEnded when none will come any more."""
        try:
            return await self._inbox.next()
        except ConnectionEnded as ended:
            if ended.reason == "client_initiated":
                raise StopAsyncIteration from None
            raise

    async def close(self) -> None:
        """Close the connection; the server keeps the subscriptions for this client_id."""
        if self._acknowledger is not None:
            await self._acknowledger.close()
        await self._link.close()
        await self._subscriptions.close()
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def subscribe(self, pattern: str, options: SubscriptionOptions | None = None) -> str:
        """Subscribe to a topic or pattern, across reconnects; return the subscription's id.

        What `options.since` asks for comes again from the first when the connection is lost before
        all of it has come. A subscription that this client_id held before is made anew for it.
        Raises NotificationError, such as Forbidden or BadTopic.
        """
        return await self._subscriptions.add(pattern, options)

    async def unsubscribe(self, pattern: str) -> None:
        """End the subscription to a pattern; raises KeyError when there is none."""
        await self._subscriptions.remove(pattern)

    async def replay(
        self, cursor: Cursor, pattern: str | None = None, *, max_replay_age: int | None = None
    ) -> ReplayComplete:
        """Ask again for what follows a cursor; return when all of it has arrived.

        cursor: one that this client had, such as `client.cursor` of another day. pattern: that of
        one subscription (KeyError when there is none); all of them when None. max_replay_age:
        milliseconds; what is older is left out.
        The messages come in the stream with `replayed`, also those that were handled before, and
        again from the first when the connection was lost meanwhile. `recovered` of the result
        says whether they are all; if not, none came, and `reason` says why.
        Raises NotificationError, such as RateLimited while another replay runs; after a reconnect
        it waits for the one that follows the resume.
        """
        subscriptions = self._subscriptions
        place = {"epoch": cursor.epoch, "offsets": cursor.offsets}
        began = self._accepted
        while True:
            try:
                reply = await self._requests.ask(
                    lambda number: Replay(
                        id=number,
                        cursor=place,
                        subscription_id=None if pattern is None else subscriptions.id_of(pattern),
                        max_replay_age=max_replay_age,
                    )
                )
            except RateLimited as error:
                if self._accepted == began:
                    raise
                # It was sent anew, and met the replay that follows a resume.
                await asyncio.sleep(wait_before_asking_again(error))
            else:
                assert isinstance(reply, ReplayComplete)
                return reply

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Published:
        """Publish, across reconnects and once; return when the message is durable.

        payload: any JSON value. metadata: `priority`, `expiresAt`, `correlationId`, `source`.
        Raises NotificationError, such as Forbidden, PayloadTooLarge or Unavailable.
        """
        raw = payload_of(payload, self._wire)
        try:
            known = msgspec.convert(metadata, Metadata) if metadata is not None else None
        except msgspec.ValidationError as error:
            raise BadFrame(f"The metadata is not what `publish` takes: {error}") from error
        key = idempotency_key or uuid.uuid4().hex  # makes the retry after a lost answer safe
        reply = await self._requests.ask(
            lambda number: Publish(
                id=number, topic=topic, payload=raw, metadata=known, idempotency_key=key
            )
        )
        assert isinstance(reply, Published)
        return reply

    # --- What the link asks and tells ---------------------------------------------------------

    async def hello(self, attempt: int, last_reason: str | None) -> Auth:
        """Make the first frame of a connection."""
        resume = None
        if self._session_id is not None:
            resume = Resume(session_id=self._session_id, cursor=cursor_of(self._inbox.received))
        return Auth(
            token=await self._fresh_token(),
            client_id=self.client_id,
            client=_INFO,
            resume=resume,
            attempt=attempt,
            last_disconnect_reason=last_reason,
        )

    async def _fresh_token(self) -> str:
        if isinstance(self._token, str):
            return self._token
        try:
            token = self._token()
            return await token if inspect.isawaitable(token) else token
        except Exception as error:
            raise ConnectionEnded(f"No token could be had: {error}") from error

    def accepted(self, success: AuthSuccess) -> None:
        """Note that a connection is authenticated."""
        self._accepted += 1
        resumed = success.resumed and self._session_id is not None
        self._inbox.resuming = resumed
        self._tell("connected", f"connected to {success.server_id}", resumed=resumed)
        if not resumed:
            self._inbox.move(success.cursor, backwards_too=True)
            if self._session_id is not None:
                self._gap("SESSION_LOST")
        self._session_id = success.session_id
        if self._acknowledger is not None:
            self._acknowledger.connected(None if resumed else success.cursor)
        self._subscriptions.restore(success.subscriptions)

    def lost(self, ended: ConnectionEnded, retry_in: float | None) -> None:
        """Note that there is no connection."""
        self._requests.lost(ended)
        if retry_in is None:
            self._inbox.end(ended)
        self._tell(
            "disconnected", str(ended), code=ended.code, reason=ended.reason, retryIn=retry_in
        )

    async def take(self, frame: Received) -> None:
        """Take a frame; wait while the inbox is full and nobody awaits an answer."""
        match frame:
            case Message():
                self._inbox.put(frame)
                while self._inbox.is_full and not self._requests.waiting:
                    self._inbox.changed.clear()
                    await self._inbox.changed.wait()
            case Pong():
                self._inbox.move(frame.cursor)
            case Gap():
                self._inbox.move(frame.cursor, backwards_too=True)
                self._gap(frame.reason)
            case ReplayComplete():
                self._replayed(frame)
            case TokenExpiring():
                if callable(self._token):
                    self._refreshing = asyncio.create_task(self._refresh())
            case Unsubscribed(id=None):
                self._subscriptions.ended_by_server(frame)
            case Error(id=None):
                self._tell("error", frame.message, code=frame.code)
            case _:
                if isinstance(frame, Subscribed):
                    self._subscriptions.begun(frame)
                self._requests.answer(frame)

    def _replayed(self, frame: ReplayComplete) -> None:
        after_resume = frame.id is None
        if after_resume:
            self._inbox.resuming = False
        # A resume that failed sets the cursor: one above the head would hide live messages.
        self._inbox.move(frame.cursor, backwards_too=after_resume and not frame.recovered)
        if frame.recovered:
            self._tell("recovered", f"{frame.count} messages were replayed", count=frame.count)
        else:
            self._gap(frame.reason or "UNKNOWN")
        self._subscriptions.replayed(frame.id)
        self._requests.answer(frame)

    def _gap(self, reason: str) -> None:
        self._tell("gap", f"messages may be missing: {reason}", reason=reason)

    async def _refresh(self) -> None:
        try:
            token = await self._fresh_token()
            await self._requests.ask(lambda number: Refresh(id=number, token=token))
        except (NotificationError, ConnectionEnded) as error:
            # The server will close with 4401, and the next connection has a fresh token.
            self._tell("error", f"The token was not refreshed: {error}")

    def _tell(self, kind: EventKind, text: str, **data: Any) -> None:
        self._on_event(Event(kind, text, data))


def _log(event: Event) -> None:
    level = logging.WARNING if event.kind in ("gap", "error", "unsubscribed") else logging.INFO
    _logger.log(level, "%s: %s", event.kind, event.text)
