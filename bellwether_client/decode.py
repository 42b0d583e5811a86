"""The one place where the server's frames are checked."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast, get_args

from bellwether_client import fields
from bellwether_client.backoff import MAX_RETRY_AFTER
from bellwether_client.config import RetryConfig, Strategy
from bellwether_client.errors import NotificationError
from bellwether_client.fields import Unreadable, Wire, optional
from bellwether_client.frames import (
    AuthSuccess,
    Disconnect,
    ErrorFrame,
    GapFrame,
    HeldSubscription,
    Pong,
    Published,
    Refreshed,
    ReplayComplete,
    ServerFrame,
    Subscribed,
    TokenExpiring,
    Unsubscribed,
    Verified,
)
from bellwether_client.messages import MessageMetadata, NotificationMessage, Priority


class Unknown(Exception):
    """A frame type that this client does not know: the protocol says to ignore it."""


def frames_of(value: object) -> Iterator[ServerFrame | Unreadable | Unknown]:
    """Read a decoded frame or batch, each frame when it is asked for."""
    for one in value if isinstance(value, list) else [value]:
        try:
            yield read_frame(one)
        except (Unreadable, Unknown) as error:
            yield error


def read_frame(value: object) -> ServerFrame:
    """Read one frame; raises Unreadable and Unknown."""
    if not isinstance(value, dict):
        raise Unreadable(f"{type(value).__name__}: not an object")
    kind = value.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        if isinstance(kind, str):
            raise Unknown(kind[:40])
        raise Unreadable("type is not a string")
    try:
        return reader(value)
    except Unreadable as error:
        raise Unreadable(f"{kind}: {error}") from None


def _message(wire: Wire) -> NotificationMessage[Any]:
    if "payload" not in wire:
        raise Unreadable("payload is missing")
    metadata = optional(wire, "metadata", fields.mapping)
    return NotificationMessage(
        id=fields.text(wire, "id"),
        topic=fields.text(wire, "topic"),
        payload=wire["payload"],
        timestamp=fields.instant(wire, "timestamp"),
        metadata=None if metadata is None else _metadata(metadata),
        seq=optional(wire, "seq", fields.count),
        position=optional(wire, "position", fields.position),
        replayed=optional(wire, "replayed", fields.flag) or False,
    )


def _metadata(wire: Wire) -> MessageMetadata:
    priority = wire.get("priority")
    return MessageMetadata(
        priority=priority if priority in get_args(Priority) else None,
        expires_at=optional(wire, "expiresAt", _lenient_instant),
        correlation_id=optional(wire, "correlationId", fields.text),
        source=optional(wire, "source", fields.text),
    )


def _lenient_instant(wire: Wire, key: str) -> datetime | None:
    # Any RFC 3339 text is accepted from publishers, and sent on as it is; a form that Python does
    # not read is no reason to lose the message.
    try:
        return fields.instant(wire, key)
    except Unreadable:
        return None


def _auth_success(wire: Wire) -> AuthSuccess:
    heartbeat = fields.mapping(wire, "heartbeat")
    limits = optional(wire, "limits", fields.mapping)
    retry = optional(wire, "retry", fields.mapping)
    return AuthSuccess(
        session_id=fields.text(wire, "sessionId"),
        server_id=fields.text(wire, "serverId"),
        resumed=fields.flag(wire, "resumed"),
        subscriptions=tuple(_held(one) for one in fields.items(wire, "subscriptions")),
        cursor=fields.cursor(wire, "cursor"),
        interval=fields.amount(heartbeat, "interval"),
        timeout=fields.amount(heartbeat, "timeout"),
        retry=None if retry is None else _retry(retry),
        health=1.0 if retry is None else _health(retry, 1.0),
        frame_bytes=None if limits is None else optional(limits, "frameBytes", fields.count),
        expires_in=optional(wire, "expiresIn", fields.amount),
    )


def _held(value: object) -> HeldSubscription:
    if not isinstance(value, dict):
        raise Unreadable("a subscription is not an object")
    return HeldSubscription(
        subscription_id=fields.text(value, "subscriptionId"),
        topic=fields.text(value, "topic"),
        options=optional(value, "options", fields.mapping) or {},
        created_at=fields.instant(value, "createdAt"),
    )


def _retry(wire: Wire) -> RetryConfig:
    return RetryConfig(
        max_retries=fields.count(wire, "maxRetries"),
        initial_delay=min(fields.amount(wire, "initialDelay"), MAX_RETRY_AFTER),
        max_delay=min(fields.amount(wire, "maxDelay"), MAX_RETRY_AFTER),
        backoff_multiplier=fields.amount(wire, "backoffMultiplier"),
        jitter=fields.flag(wire, "jitter"),
        strategy=_strategy(wire.get("strategy")),
    )


def _strategy(value: object) -> Strategy:
    """Read a strategy; one of a later version is exponential."""
    for strategy in get_args(Strategy):
        if value == strategy:
            return cast(Strategy, strategy)
    return "exponential"


def _health(wire: Wire, otherwise: float) -> float:
    health = optional(wire, "health", fields.amount)
    return otherwise if health is None else health


def _subscribed(wire: Wire) -> Subscribed:
    return Subscribed(
        id=optional(wire, "id", fields.request_id),
        subscription_id=fields.text(wire, "subscriptionId"),
        topic=fields.text(wire, "topic"),
        options=optional(wire, "options", fields.mapping) or {},
        created_at=fields.instant(wire, "createdAt"),
        cursor=fields.cursor(wire, "cursor"),
    )


def _unsubscribed(wire: Wire) -> Unsubscribed:
    return Unsubscribed(
        id=optional(wire, "id", fields.request_id),
        subscription_id=fields.text(wire, "subscriptionId"),
        code=optional(wire, "code", fields.text),
        reason=optional(wire, "reason", fields.text),
    )


def _published(wire: Wire) -> Published:
    return Published(
        id=fields.request_id(wire, "id"),
        message_id=fields.text(wire, "messageId"),
        topic=fields.text(wire, "topic"),
        timestamp=fields.instant(wire, "timestamp"),
        seq=optional(wire, "seq", fields.count),
        position=optional(wire, "position", fields.position),
        duplicate=optional(wire, "duplicate", fields.flag) or False,
    )


def _replay_complete(wire: Wire) -> ReplayComplete:
    return ReplayComplete(
        id=optional(wire, "id", fields.request_id),
        recovered=fields.flag(wire, "recovered"),
        count=fields.count(wire, "count"),
        cursor=fields.cursor(wire, "cursor"),
        reason=optional(wire, "reason", fields.text),
    )


def _verified(wire: Wire) -> Verified:
    inactive = []
    for one in fields.items(wire, "inactive"):
        if not isinstance(one, dict):
            raise Unreadable("inactive holds no objects")
        inactive.append((fields.text(one, "subscriptionId"), fields.text(one, "code")))
    active = fields.items(wire, "active")
    if not all(isinstance(one, str) for one in active):
        raise Unreadable("active holds no strings")
    return Verified(fields.request_id(wire, "id"), tuple(active), tuple(inactive))


def _error(wire: Wire) -> ErrorFrame:
    error = NotificationError(
        fields.text(wire, "code"),
        fields.text(wire, "message"),
        temporary=optional(wire, "temporary", fields.flag) or False,
        retry_after=optional(wire, "retryAfter", fields.amount),
        data=optional(wire, "data", fields.mapping),
    )
    return ErrorFrame(optional(wire, "id", fields.request_id), error)


def _pong(wire: Wire) -> Pong:
    return Pong(optional(wire, "t", fields.amount), fields.cursor(wire, "cursor"))


def _gap(wire: Wire) -> GapFrame:
    topic = optional(wire, "topic", fields.text)
    return GapFrame(topic, fields.text(wire, "reason"), fields.cursor(wire, "cursor"))


def _token_expiring(wire: Wire) -> TokenExpiring:
    return TokenExpiring(fields.amount(wire, "expiresIn"))


def _refreshed(wire: Wire) -> Refreshed:
    expires_in = optional(wire, "expiresIn", fields.amount)
    return Refreshed(fields.request_id(wire, "id"), expires_in)


def _disconnect(wire: Wire) -> Disconnect:
    return Disconnect(
        code=fields.count(wire, "code"),
        reason=fields.text(wire, "reason"),
        reconnect=fields.flag(wire, "reconnect"),
        retry_after=optional(wire, "retryAfter", fields.amount),
        health=optional(wire, "health", fields.amount),
    )


_READERS: dict[str, Callable[[Wire], ServerFrame]] = {
    "message": _message,
    "auth_success": _auth_success,
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
    "published": _published,
    "replay_complete": _replay_complete,
    "pong": _pong,
    "gap": _gap,
    "token_expiring": _token_expiring,
    "refreshed": _refreshed,
    "verified": _verified,
    "disconnect": _disconnect,
    "error": _error,
}
