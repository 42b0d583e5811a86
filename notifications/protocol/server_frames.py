"""Frames from server to client: section 3 of docs/protocol.md, one record each.

A flag that the contract marks `?: true` is True or None; None is left out.
"""

from typing import Any, Literal

from msgspec import Raw

from notifications.protocol.values import (
    Cursor,
    Frame,
    Heartbeat,
    HeldSubscription,
    InactiveSubscription,
    Limits,
    Member,
    Metadata,
    RequestId,
    Retry,
    SubscriptionOptions,
)

Position = tuple[int, int]
"""A durable message's place in the log: (partition, offset), offsets from 1."""


class AuthSuccess(Frame, frozen=True, kw_only=True, tag="auth_success"):
    """The connection is authenticated, and what is in force on it.

    id: the auth's.
    session_id: a secret of this client; resumes the session.
    server_id: the server process.
    capabilities: those in force.
    resumed: whether the session was found and goes on.
    subscriptions: what the server holds for this user and clientId.
    cursor: the head of the log, or the place from which the replay goes out.
    heartbeat, retry, limits: what the client keeps to.
    expires_in: milliseconds that the token has left; None for an API key.
    server_time: an instant.
    """

    id: RequestId | None = None
    session_id: str
    server_id: str
    capabilities: tuple[str, ...]
    resumed: bool
    subscriptions: tuple[HeldSubscription, ...]
    cursor: Cursor
    heartbeat: Heartbeat
    retry: Retry
    limits: Limits
    expires_in: int | None = None
    server_time: str


class Subscribed(Frame, frozen=True, kw_only=True, tag="subscribed"):
    """A subscription is in force.

    id: the request; None when others began it, over REST.
    subscription_id: names it from now on.
    topic: the topic or pattern.
    options: where others began it, what they said.
    created_at: an instant.
    cursor: where it begins; what is published after it will be delivered.
    """

    id: RequestId | None = None
    subscription_id: str
    topic: str
    options: SubscriptionOptions | None = None
    created_at: str
    cursor: Cursor


class Unsubscribed(Frame, frozen=True, kw_only=True, tag="unsubscribed"):
    """A subscription has ended; nothing that only it matched follows.

    id: the request; None when the server decided.
    subscription_id: the one that ended.
    code: the error code when the server decided.
    reason: the same for a person.
    """

    id: RequestId | None = None
    subscription_id: str
    code: str | None = None
    reason: str | None = None


class Message(Frame, frozen=True, kw_only=True, tag="message"):
    """A message that a subscription wants; once per connection.

    id: a UUIDv7.
    topic: the topic it was published to.
    payload: the publisher's JSON bytes.
    timestamp: the instant it was appended.
    metadata: the publisher's.
    seq: its number in its topic; None when ephemeral.
    position: its place in the log; None when ephemeral.
    replayed: True when it comes from a replay.
    """

    id: str
    topic: str
    payload: Raw
    timestamp: str
    metadata: Metadata | None = None
    seq: int | None = None
    position: Position | None = None
    replayed: bool | None = None


class ReplayComplete(Frame, frozen=True, kw_only=True, tag="replay_complete"):
    """A replay ended; live messages follow.

    id: that of the auth, replay or subscribe that asked.
    recovered: whether everything was sent.
    count: messages sent.
    cursor: the splice.
    reason: the first that applies, when not recovered.
    """

    id: RequestId | None = None
    recovered: bool
    count: int
    cursor: Cursor
    reason: Literal["BAD_CURSOR", "EPOCH_CHANGED", "BEYOND_RETENTION", "TOO_MANY"] | None = None


class Published(Frame, frozen=True, kw_only=True, tag="published"):
    """A message is accepted: durable, unless its topic is ephemeral.

    id: the request.
    message_id: the message's id.
    topic: as published.
    timestamp: the instant it was appended.
    seq, position: as in the message.
    duplicate: True when an earlier publish with this idempotency key did it.
    """

    id: RequestId
    message_id: str
    topic: str
    timestamp: str
    seq: int | None = None
    position: Position | None = None
    duplicate: bool | None = None


class Pong(Frame, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping; its cursor speaks for the frames sent before it.

    t: the ping's.
    cursor: the partitions that moved since the last one told.
    server_time: an instant.
    """

    t: int | float | None = None
    cursor: Cursor
    server_time: str


class Gap(Frame, frozen=True, kw_only=True, tag="gap"):
    """Messages may be missing before a cursor; the client adopts it and tells its application.

    topic: where only one is concerned.
    reason: why.
    count: how many are missing, where that is known: ephemeral ones that were dropped.
    cursor: where the certain part begins.
    """

    topic: str | None = None
    reason: str
    count: int | None = None
    cursor: Cursor


class TokenExpiring(Frame, frozen=True, kw_only=True, tag="token_expiring"):
    """The token ends soon; time for a refresh.

    expires_in: milliseconds left.
    """

    expires_in: int


class Presence(Frame, frozen=True, kw_only=True, tag="presence"):
    """Who is on a topic.

    id: the request.
    topic: as asked.
    members: those present now.
    """

    id: RequestId | None = None
    topic: str
    members: tuple[Member, ...]


class PresenceDiff(Frame, frozen=True, kw_only=True, tag="presence_diff"):
    """Who came to a topic and who left it.

    topic: the topic.
    joins, leaves: since the last presence or presence_diff.
    """

    topic: str
    joins: tuple[Member, ...]
    leaves: tuple[Member, ...]


class Disconnect(Frame, frozen=True, kw_only=True, tag="disconnect"):
    """The server is about to close.

    code: the close code that follows.
    reason: the same for a person.
    reconnect: whether the client is to come back.
    retry_after: milliseconds to wait before.
    health: the server's, where the client is to come back; None counts as 1.
    """

    code: int
    reason: str
    reconnect: bool
    retry_after: int | None = None
    health: float | None = None


class Error(Frame, frozen=True, kw_only=True, tag="error"):
    """A request that was not granted.

    id: the request; None where it is unknown.
    code: one of notifications.errors.ERRORS.
    message: says what to do.
    temporary: whether the same request may succeed later.
    retry_after: milliseconds to wait before.
    data: what a program may use.
    """

    id: RequestId | None = None
    code: str
    message: str
    temporary: bool
    retry_after: int | None = None
    data: dict[str, Any] | None = None


class Refreshed(Frame, frozen=True, kw_only=True, tag="refreshed"):
    """The connection goes on with the new token.

    id: the request.
    expires_in: milliseconds that it has; None for an API key.
    """

    id: RequestId
    expires_in: int | None = None


class Verified(Frame, frozen=True, kw_only=True, tag="verified"):
    """Which subscriptions are in force.

    id: the request.
    active: their ids.
    inactive: the others, each with why.
    """

    id: RequestId
    active: tuple[str, ...]
    inactive: tuple[InactiveSubscription, ...]


ServerFrame = (
    AuthSuccess
    | Subscribed
    | Unsubscribed
    | Message
    | ReplayComplete
    | Published
    | Pong
    | Gap
    | TokenExpiring
    | Presence
    | PresenceDiff
    | Disconnect
    | Error
    | Refreshed
    | Verified
)
