"""The server's frames as this client reads them; decode.py makes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bellwether_client.config import RetryConfig
from bellwether_client.cursor import Cursor, Position
from bellwether_client.errors import NotificationError
from bellwether_client.messages import NotificationMessage

RequestId = int | str


@dataclass(frozen=True, slots=True)
class HeldSubscription:
    """A subscription that the server holds, and that is in force."""

    subscription_id: str
    topic: str
    options: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuthSuccess:
    """The connection is accepted. Durations are milliseconds.

    health: of the server, in (0, 1]. frame_bytes: the largest frame that it takes.
    expires_in: what the token has left; None for an API key.
    """

    session_id: str
    server_id: str
    resumed: bool
    subscriptions: tuple[HeldSubscription, ...]
    cursor: Cursor
    interval: float
    timeout: float
    retry: RetryConfig | None
    health: float
    frame_bytes: int | None
    expires_in: float | None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription is in force; it begins at the cursor.

    id: None when others began it. options: what they said then.
    """

    id: RequestId | None
    subscription_id: str
    topic: str
    options: dict[str, Any]
    created_at: datetime
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A subscription has ended. id: None when the server decided."""

    id: RequestId | None
    subscription_id: str
    code: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """A publish is durable."""

    id: RequestId
    message_id: str
    topic: str
    timestamp: datetime
    seq: int | None
    position: Position | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ReplayComplete:
    """A replay is over. id: of the request; None after a resume."""

    id: RequestId | None
    recovered: bool
    count: int
    cursor: Cursor
    reason: str | None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping; its cursor speaks for the frames before it."""

    t: float | None
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class GapFrame:
    """Messages may be missing before a cursor."""

    topic: str | None
    reason: str
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class TokenExpiring:
    """The token ends soon."""

    expires_in: float


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The token was replaced. expires_in: None for one that does not expire."""

    id: RequestId
    expires_in: float | None


@dataclass(frozen=True, slots=True)
class Verified:
    """Which subscriptions are in force. inactive: (id, code) pairs."""

    id: RequestId
    active: tuple[str, ...]
    inactive: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The server is about to close."""

    code: int
    reason: str
    reconnect: bool
    retry_after: float | None
    health: float | None


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """A request was refused; id: None where it was none in particular."""

    id: RequestId | None
    error: NotificationError


ServerFrame = (
    AuthSuccess
    | Subscribed
    | Unsubscribed
    | Published
    | ReplayComplete
    | Pong
    | GapFrame
    | TokenExpiring
    | Refreshed
    | Verified
    | Disconnect
    | ErrorFrame
    | NotificationMessage[Any]
)
