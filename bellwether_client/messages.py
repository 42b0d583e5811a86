"""What handlers get, and what a publish is answered with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from bellwether_client.cursor import Position

T = TypeVar("T")

Priority = Literal["low", "normal", "high", "urgent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMetadata:
    """What the publisher said about a message besides its payload; None: nothing.

    expires_at: UTC; the message is not delivered after it.
    """

    priority: Priority | None = None
    expires_at: datetime | None = None
    correlation_id: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationMessage(Generic[T]):
    """A message.

    payload: as the publisher sent it; check it before you trust it. timestamp: UTC, when the
    server stored it. seq: its number in its topic, from 1 and gapless. position: its place in the
    log. Ephemeral messages have neither. replayed: whether it was missed and came later.
    """

    id: str
    topic: str
    payload: T
    timestamp: datetime
    metadata: MessageMetadata | None = None
    seq: int | None = None
    position: Position | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedMessage:
    """A message that is durable now (unless its topic is ephemeral).

    duplicate: whether an earlier publish with this idempotency key had done it.
    """

    id: str
    topic: str
    timestamp: datetime
    seq: int | None = None
    position: Position | None = None
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """How a `replay` went.

    recovered: whether all that was asked for has been given to the handlers. count: how many
    messages. reason: why it could not be whole.
    """

    recovered: bool
    count: int
    reason: str | None = None


MessageHandler = Callable[[NotificationMessage[Any]], Awaitable[None] | None]
"""Who needs a message: a function, or a coroutine function, whose end is waited for."""

MessageFilter = Callable[[NotificationMessage[Any]], bool]

MessageErrorHandler = Callable[[Exception, NotificationMessage[Any]], None]
"""Who hears of a handler or filter that failed: a plain function."""
