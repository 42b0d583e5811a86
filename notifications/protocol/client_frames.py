"""Frames from client to server: section 2 of docs/protocol.md, one record each.

Field constraints are the contract's, so a decoded frame needs no second check of its shape.
Topics, filters and cursors are checked where they are used.
"""

from typing import Annotated

from msgspec import Meta, Raw

from notifications.errors import BadCursor
from notifications.protocol.values import (
    Batch,
    ClientInfo,
    Count,
    Frame,
    Key128,
    Metadata,
    Milliseconds,
    Number,
    RequestId,
    Resume,
    SubscriptionOptions,
    Text,
    Token,
    Untrusted,
)

TopicText = Annotated[str, Meta(description="text: a topic or, to subscribe, a pattern")]
Names = Annotated[tuple[Text, ...], Meta(description="an array of text")]
_Object = Meta(description="an object")


def _require_object(field: str, cursor: object) -> None:
    if not isinstance(cursor, dict):
        raise BadCursor(f"Send `{field}` as an object with `epoch` and `offsets`.")


class Auth(Frame, frozen=True, kw_only=True, tag="auth"):
    """Prove who connects; the first frame. Answered by auth_success, or error and a close.

    id: optional; its reply carries it.
    token: an access token or an API key.
    client_id: 1 to 128 characters; names the running client of this user.
    capabilities: `batch`, `presence`; unknown ones are ignored.
    client: the program.
    resume: the session wanted back; a malformed one counts as none.
    attempt: reconnects so far.
    last_disconnect_reason: why the last connection ended.
    batch: how to gather messages.
    """

    id: RequestId | None = None
    token: Token
    client_id: Key128
    capabilities: Names | None = None
    client: Annotated[ClientInfo, _Object] | None = None
    resume: Annotated[Resume, _Object] | None = None
    attempt: Count | None = None
    last_disconnect_reason: Text | None = None
    batch: Annotated[Batch, _Object] | None = None

    def __repr__(self) -> str:
        return f"Auth(client_id={self.client_id!r})"  # no token or session reaches a log


class Subscribe(Frame, frozen=True, kw_only=True, tag="subscribe"):
    """Ask for a topic's messages. Answered by subscribed.

    id: the request.
    topic: a topic or pattern, grammar not yet checked.
    options: replay, filter and batching.
    """

    id: RequestId
    topic: TopicText
    options: Annotated[SubscriptionOptions, _Object] | None = None


class Unsubscribe(Frame, frozen=True, kw_only=True, tag="unsubscribe"):
    """End a subscription. Answered by unsubscribed.

    id: the request.
    subscription_id: from subscribed or auth_success.
    """

    id: RequestId
    subscription_id: Text


class Publish(Frame, frozen=True, kw_only=True, tag="publish"):
    """Append a message to a topic. Answered by published once it is durable.

    id: the request.
    topic: a topic, grammar not yet checked.
    payload: any JSON value, null included, as compact JSON bytes: the publisher's own text of
        numbers and strings, without insignificant white space. Never re-encoded.
    metadata: priority, expiry and labels.
    idempotency_key: 1 to 128 characters; a retry with it is answered as the first was.
    """

    id: RequestId
    topic: TopicText
    payload: Annotated[Raw, Meta(description="any JSON value")]
    metadata: Annotated[Metadata, _Object] | None = None
    idempotency_key: Key128 | None = None


class Replay(Frame, frozen=True, kw_only=True, tag="replay"):
    """Ask again for what follows a cursor. Answered by messages, then replay_complete.

    id: the request.
    cursor: an object (BadCursor otherwise), its contents untrusted.
    subscription_id: only this one; None means all.
    max_replay_age: milliseconds; older messages are left out.
    """

    id: RequestId
    cursor: Untrusted = None
    subscription_id: Text | None = None
    max_replay_age: Milliseconds | None = None

    def __post_init__(self) -> None:
        _require_object("cursor", self.cursor)


class Verify(Frame, frozen=True, kw_only=True, tag="verify"):
    """Ask which subscriptions are in force. Answered by verified.

    id: the request.
    subscription_ids: those to look up.
    """

    id: RequestId
    subscription_ids: Names


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    """Say that everything up to a cursor is processed. Cumulative, not answered.

    cursor: an object (BadCursor otherwise), its contents untrusted.
    """

    cursor: Untrusted = None

    def __post_init__(self) -> None:
        _require_object("cursor", self.cursor)


class Refresh(Frame, frozen=True, kw_only=True, tag="refresh"):
    """Replace the token of an open connection. Answered by refreshed.

    id: the request.
    token: a fresh token of the same user.
    """

    id: RequestId
    token: Token

    def __repr__(self) -> str:
        return f"Refresh(id={self.id!r})"  # no token reaches a log


class PresenceRequest(Frame, frozen=True, kw_only=True, tag="presence"):
    """Ask who is on a topic. Answered by presence.

    id: the request.
    topic: a topic, grammar not yet checked.
    """

    id: RequestId
    topic: TopicText


class Ping(Frame, frozen=True, kw_only=True, tag="ping"):
    """Prove life. Answered by pong.

    t: a number of the client's, which the pong repeats.
    """

    t: Number | None = None


ClientFrame = (
    Auth
    | Subscribe
    | Unsubscribe
    | Publish
    | Replay
    | Verify
    | Ack
    | Refresh
    | PresenceRequest
    | Ping
)
