"""The records that frames are made of, and the field types that frames share.

A `Meta` description completes the sentence "Send `field` as …", which is what a client reads
when the field is missing or wrong. It stands beside the constraint so that both change together.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from notifications.errors import BadCursor, BadFrame
from notifications.protocol.instants import parse_instant

MAX_INTEGER = 2**53 - 1
"""The largest integer that a JavaScript number holds exactly."""

MAX_LAST = 1_000
"""The most messages that `since: {"last": n}` may ask for."""

# PostgreSQL cannot store U+0000 in text. Refused here, it is the client's error and not a 500.
_NO_NUL = r"^[^\x00]*$"

Text = Annotated[str, Meta(pattern=_NO_NUL, description="text without U+0000")]
Text128 = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=_NO_NUL,
        description="text of at most 128 characters, without U+0000",
    ),
]
Key128 = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_NO_NUL,
        description="text of 1 to 128 characters, without U+0000",
    ),
]
Token = Annotated[
    str,
    Meta(min_length=1, pattern=_NO_NUL, description="text: an access token or an API key"),
]
Milliseconds = Annotated[
    int,
    Meta(ge=0, le=MAX_INTEGER, description="a duration: a whole number of milliseconds"),
]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="a whole number, 0 or more")]
Flag = Annotated[bool, Meta(description="true or false")]
Number = Annotated[
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float,
    Meta(description="a number; an integer stays below 2^53"),
]
RequestId = Annotated[
    Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | Annotated[str, Meta(max_length=64)],
    Meta(description="an integer below 2^53 or text of at most 64 characters"),
]
"""What a client calls its request; the reply or error carries the same. Characters are Unicode
code points throughout, not UTF-16 units."""


# gc=False: a record holds plain values only, so it is never part of a cycle.
class Record(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """A value inside a frame: camelCase on the wire, None is left out, null reads as None."""


class Frame(Record, frozen=True, kw_only=True, tag_field="type"):
    """A frame; its tag is its `type`."""


class Cursor(Record, frozen=True, kw_only=True):
    """How far a client has processed the log, as the server states it.

    epoch: the life of the log in which the offsets were counted.
    offsets: partition (a decimal string) to the offset of the last message processed; a
        partition that is not named counts as 0.
    """

    epoch: str
    offsets: dict[str, int]


class Metadata(Record, frozen=True, kw_only=True):
    """What a publisher says about a message besides its payload.

    priority: `high` and `urgent` never wait for a batch window. None means `normal`.
    expires_at: RFC 3339 text as the publisher wrote it; the message is not delivered after it.
        Checked with `parse_instant`: BadFrame when it is not a time.
    correlation_id, source: free text of the publisher.
    """

    priority: (
        Annotated[
            Literal["low", "normal", "high", "urgent"],
            Meta(description="one of low, normal, high, urgent"),
        ]
        | None
    ) = None
    expires_at: Annotated[str, Meta(description="an RFC 3339 time")] | None = None
    correlation_id: Text128 | None = None
    source: Text128 | None = None

    def __post_init__(self) -> None:
        if self.expires_at is not None:
            try:
                parse_instant(self.expires_at)
            except ValueError:
                raise BadFrame(
                    "Send `metadata.expiresAt` as an RFC 3339 time,"
                    " such as 2030-01-31T12:00:00.000Z."
                ) from None


class Batch(Record, frozen=True, kw_only=True):
    """How a client wants messages gathered into arrays.

    max_size: messages in an array.
    max_delay: milliseconds that a message may wait for company.
    """

    max_size: (
        Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")] | None
    ) = None
    max_delay: (
        Annotated[int, Meta(ge=0, le=10_000, description="milliseconds from 0 to 10,000")] | None
    ) = None


class ClientInfo(Record, frozen=True, kw_only=True):
    """The program that connects, for operators to read.

    name, version: as the program calls itself.
    kind: where it runs.
    """

    name: Text | None = None
    version: Text | None = None
    kind: (
        Annotated[
            Literal["browser", "mobile", "service"],
            Meta(description="one of browser, mobile, service"),
        ]
        | None
    ) = None


Untrusted = Annotated[Any, Meta(description="an object with `epoch` and `offsets`")]
"""A cursor from a client, any JSON value: whoever uses it finds out what it is worth."""


class Resume(Record, frozen=True, kw_only=True):
    """The session that a client wants back.

    session_id: from an earlier auth_success; None and unknown ones resume nothing.
    cursor: untrusted, any JSON value or None. Whatever is wrong with it costs the replay, never
        the authentication.
    """

    session_id: Text | None = None
    cursor: Untrusted = None


class SubscriptionOptions(Record, frozen=True, kw_only=True):
    """What a subscription wants beyond its pattern.

    replay_missed: replay from the session's cursor.
    max_replay_age: milliseconds; older messages are not replayed.
    since: a cursor object, or {"last": n} with n up to 1,000. BadCursor when it is no object,
        BadFrame when `last` is no such number.
    filter: a tree of section 6 of docs/protocol.md, not yet checked here.
    batch: overrides the connection's.
    """

    replay_missed: Flag | None = None
    max_replay_age: Milliseconds | None = None
    since: Annotated[Any, Meta(description='a cursor object or as {"last": n}')] = None
    filter: Annotated[Any, Meta(description="a filter tree")] = None
    batch: Annotated[Batch, Meta(description="an object")] | None = None

    def __post_init__(self) -> None:
        if self.since is None:
            return
        if not isinstance(self.since, dict):
            raise BadCursor('Send `options.since` as a cursor object or as {"last": n}.')
        last = self.since.get("last")
        if last is not None and (type(last) is not int or not 0 <= last <= MAX_LAST):
            raise BadFrame("Send `options.since.last` as a whole number from 0 to 1,000.")


class HeldSubscription(Record, frozen=True, kw_only=True):
    """A subscription that the server holds for a (user, clientId), and that is in force.

    subscription_id: names it in `unsubscribe`, `verify` and `replay`.
    topic: the topic or pattern.
    options: as subscribed.
    created_at: an instant.
    unasked: True when others began it, over REST.
    """

    subscription_id: str
    topic: str
    options: SubscriptionOptions
    created_at: str
    unasked: bool | None = None


class InactiveSubscription(Record, frozen=True, kw_only=True):
    """A subscription of a `verify` that is not in force.

    subscription_id: as the client named it.
    code: the error code that says why.
    """

    subscription_id: str
    code: str


class Heartbeat(Record, frozen=True, kw_only=True):
    """When the client pings.

    interval: milliseconds between pings.
    timeout: milliseconds in which any frame must follow.
    """

    interval: int
    timeout: int


class Retry(Record, frozen=True, kw_only=True):
    """How the client spaces its reconnects.

    max_retries: 0 means without end.
    initial_delay, max_delay: milliseconds.
    backoff_multiplier: factor between delays.
    jitter: whether delays are spread at random.
    strategy: the shape of the delays.
    health: the server's, above 0 and at most 1, by which `adaptive` divides; None counts as 1.
    """

    max_retries: int
    initial_delay: int
    max_delay: int
    backoff_multiplier: float
    jitter: bool
    strategy: Literal["exponential", "linear", "fixed", "adaptive"]
    health: float | None = None


class Limits(Record, frozen=True, kw_only=True):
    """What the server accepts on a connection.

    frame_bytes: one WebSocket message.
    payload_bytes: one payload, in the codec of the connection; JSON is counted compact.
    subscriptions, patterns: held at a time.
    frames_per_second, publishes_per_second: sustained rates.
    replay_messages: more than these are not replayed (`TOO_MANY`).
    """

    frame_bytes: int
    payload_bytes: int
    subscriptions: int
    patterns: int
    frames_per_second: int
    publishes_per_second: int
    replay_messages: int


class Member(Record, frozen=True, kw_only=True):
    """A client that is present on a topic.

    user: the user's name.
    client_id: one of that user's clients.
    since: the instant it came.
    """

    user: str
    client_id: str
    since: str | None = None
