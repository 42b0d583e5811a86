"""What no handler sees: recovery, gaps, subscriptions and connections that end."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from bellwether_client.breaker import Circuit
from bellwether_client.cursor import Cursor
from bellwether_client.errors import ConnectionError, NotificationError
from bellwether_client.messages import NotificationMessage

if TYPE_CHECKING:
    from bellwether_client.handle import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """All that was missed has been given to the handlers; of one topic where it is named."""

    count: int
    topic: str | None = None
    type: Literal["recovered"] = "recovered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Messages may be missing.

    reason: EPOCH_CHANGED, BEYOND_RETENTION, TOO_MANY, BAD_CURSOR, SESSION_LOST, CONNECTION_LOST,
    NO_HANDLER, or another that the server names. cursor: where the certain part begins.
    """

    reason: str
    topic: str | None = None
    cursor: Cursor | None = None
    type: Literal["gap"] = "gap"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionEnded:
    """The server refused or ended a subscription."""

    subscription: "Subscription"
    error: NotificationError
    type: Literal["subscription_ended"] = "subscription_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnded:
    """The connection ended, not by `disconnect`, and nothing is retried."""

    error: ConnectionError
    type: Literal["connection_ended"] = "connection_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerError:
    """A handler or filter without `on_error` failed; the message counts as handled."""

    error: Exception
    message: NotificationMessage[Any]
    type: Literal["handler_error"] = "handler_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """The server complained about no request in particular."""

    error: NotificationError
    type: Literal["server_error"] = "server_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFrame:
    """The server sent a frame that this client cannot read; it was left out."""

    detail: str
    type: Literal["unreadable_frame"] = "unreadable_frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """The server holds a subscription of this client that has no handler yet.

    Its messages wait for one, 1,000 at most. unsubscribe: ends it.
    """

    topic: str
    created_at: datetime
    unsubscribe: Callable[[], None]
    type: Literal["orphan"] = "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged:
    """The circuit breaker opened, half-opened or closed."""

    circuit: Circuit
    type: Literal["circuit"] = "circuit"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFailed:
    """The state is not kept any more; told once."""

    error: Exception
    type: Literal["storage_failed"] = "storage_failed"


ClientEvent = (
    Recovered
    | Gap
    | SubscriptionEnded
    | ConnectionEnded
    | HandlerError
    | ServerError
    | UnreadableFrame
    | Orphan
    | CircuitChanged
    | StorageFailed
)

EventListener = Callable[[ClientEvent], None]
"""A plain function: what a coroutine function returns nobody would await."""


class Events:
    """Tells the application's listeners, none of which can harm another."""

    def __init__(self, logger: logging.Logger) -> None:
        self._listeners: list[EventListener] = []
        self._logger = logger

    def listen(self, listener: EventListener) -> Callable[[], None]:
        """Call the listener with each event; returns what removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def emit(self, event: ClientEvent) -> None:
        """Tell everybody; a failure or loss that nobody listens for is logged."""
        if not self._listeners:
            self._log(event)
        for listener in list(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):  # the latter is of something it looked at
                self._logger.exception("a listener of events failed")

    def _log(self, event: ClientEvent) -> None:
        """Say what nobody else hears, and what an application has to know."""
        match event:
            case HandlerError():
                self._logger.error("a handler failed", exc_info=event.error)
            case SubscriptionEnded():
                self._logger.error("%s ended: %s", event.subscription.topic, event.error)
            case ConnectionEnded():
                text = "the connection ended for good: %s %s"
                self._logger.error(text, event.error, event.error.hint)
            case Gap():
                topic = "all topics" if event.topic is None else event.topic
                self._logger.warning("messages of %s may be missing: %s", topic, event.reason)
            case StorageFailed():
                self._logger.warning("the state is not kept: %s", event.error)
