"""What an application may choose. Durations are milliseconds.

A value that cannot be meant is a ValueError where it is written, not a surprise later.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from bellwether_client.cursor import Cursor
from bellwether_client.messages import MessageErrorHandler, MessageFilter
from bellwether_client.storage import MemoryStorage, Storage

Strategy = Literal["exponential", "linear", "fixed", "adaptive"]
OverflowStrategy = Literal["drop-oldest", "drop-newest", "reject"]
Kind = Literal["browser", "mobile", "service"]
CodecName = Literal["json", "msgpack"]
Auth = str | Callable[[], str | Awaitable[str]]
"""A token, or a function (sync or async) that gets a fresh one for each connection and refresh."""

_is_client_id = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch


def is_text(text: str) -> bool:
    """Tell whether a text has whole characters only, and can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """How retries are spaced. max_retries: 0 is for ever."""

    max_retries: int = 10
    initial_delay: float = 1_000
    max_delay: float = 30_000
    backoff_multiplier: float = 2
    jitter: bool = True
    strategy: Strategy = "exponential"

    def __post_init__(self) -> None:
        numbers = (self.max_retries, self.initial_delay, self.max_delay, self.backoff_multiplier)
        _require(all(number >= 0 for number in numbers), "A RetryConfig has no negative numbers.")
        known = ("exponential", "linear", "fixed", "adaptive")
        _require(self.strategy in known, f"strategy is one of {', '.join(known)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """Bound, age and policy of the publishes that wait for a connection.

    drop-oldest and drop-newest: what is dropped raises DROPPED. reject: the new one raises
    QUEUE_FULL.
    """

    max_size: int = 1_000
    max_age: float = 300_000
    overflow_strategy: OverflowStrategy = "drop-oldest"

    def __post_init__(self) -> None:
        _require(self.max_size >= 0 and self.max_age >= 0, "A queue has no negative bound.")
        known = ("drop-oldest", "drop-newest", "reject")
        _require(self.overflow_strategy in known, f"overflow_strategy is one of {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreakerConfig:
    """When to keep away from what fails: after so many failures in a row, for so long."""

    failure_threshold: int = 5
    reset_timeout: float = 30_000

    def __post_init__(self) -> None:
        _require(self.failure_threshold >= 1, "failure_threshold is 1 or more.")
        _require(self.reset_timeout >= 0, "reset_timeout is 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How the server gathers messages: at most so many, held back at most so long."""

    max_size: int = 100
    max_delay: int = 100

    def __post_init__(self) -> None:
        _require(1 <= self.max_size <= 100, "max_size is 1 to 100.")
        _require(0 <= self.max_delay <= 10_000, "max_delay is 0 to 10,000.")

    def to_wire(self) -> dict[str, Any]:
        """Return it as frames carry it."""
        return {"maxSize": self.max_size, "maxDelay": self.max_delay}


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """The newest `count` messages, up to 1,000: a value of `since`."""

    count: int

    def __post_init__(self) -> None:
        _require(0 <= self.count <= 1_000, "since takes the last 0 to 1,000 messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """What a subscription wants beyond its topic or pattern.

    filter: narrows what the handler gets; it runs here. on_error: hears of a handler or filter
    that failed. replay_missed: True asks for what was missed, False wants nothing of it.
    max_replay_age: the oldest replayed message that is wanted. server_filter: a filter tree
    (section 6 of docs/protocol.md), which narrows what is sent. since: replay from there first.
    batch: how the server gathers.
    """

    filter: MessageFilter | None = None
    on_error: MessageErrorHandler | None = None
    replay_missed: bool | None = None
    max_replay_age: int | None = None
    server_filter: Mapping[str, Any] | None = None
    since: Cursor | Last | None = None
    batch: BatchConfig | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return those that are data as `subscribe` carries them."""
        since, tree = self.since, self.server_filter
        options = {
            "replayMissed": self.replay_missed,
            "maxReplayAge": self.max_replay_age,
            "filter": dict(tree) if isinstance(tree, Mapping) else tree,
            "since": since.to_wire()
            if isinstance(since, Cursor)
            else None
            if since is None
            else {"last": since.count},
            "batch": None if self.batch is None else self.batch.to_wire(),
        }
        return {key: value for key, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationClientConfig:
    """The configuration of a client; docs/clients/behaviour.md tells each field's meaning.

    url: ws:// or wss://, without a token. heartbeat_interval, heartbeat_timeout: the server's when
    None, and never a longer interval than the server's. retry_config: the server's when None.
    client_id: made, and kept in the storage, when None. acknowledge: tell the server how far the
    handlers have come. debug: log transitions and frame types to `bellwether_client` at DEBUG.
    """

    url: str
    auth: Auth = field(repr=False)
    heartbeat_interval: float | None = None
    heartbeat_timeout: float | None = None
    retry_config: RetryConfig | None = None
    queue_config: QueueConfig = field(default_factory=QueueConfig)
    debug: bool = False
    client_id: str | None = None
    kind: Kind = "service"
    storage: Storage = field(default_factory=MemoryStorage)
    acknowledge: bool = False
    batch: BatchConfig | None = None
    circuit_breaker: CircuitBreakerConfig = field(default_factory=CircuitBreakerConfig)
    codec: CodecName = "json"

    def __post_init__(self) -> None:
        _require(_is_socket(self.url), "url is no URL of a WebSocket (ws:// or wss://).")
        is_token = isinstance(self.auth, str) and self.auth != "" and is_text(self.auth)
        _require(is_token or callable(self.auth), "auth is a token, or a function that gets one.")
        for number in (self.heartbeat_interval, self.heartbeat_timeout):
            _require(number is None or number > 0, "A heartbeat takes more than 0 ms.")
        _require(
            self.client_id is None or _is_client_id(self.client_id) is not None,
            "client_id is 1 to 128 of A-Z a-z 0-9 _ -",
        )
        for name, (kind, is_optional) in _PARTS.items():
            part = getattr(self, name)
            is_right = isinstance(part, kind) or (part is None and is_optional)
            _require(is_right, f"{name} is a {kind.__name__}.")
        methods = (getattr(self.storage, name, None) for name in ("get", "set"))
        _require(all(map(callable, methods)), "storage is a Storage, such as FileStorage(path).")
        _require(self.kind in ("browser", "mobile", "service"), "kind: browser, mobile or service")
        _require(self.codec in ("json", "msgpack"), f"codec is json or msgpack, not {self.codec!r}")


_PARTS: dict[str, tuple[type, bool]] = {
    "retry_config": (RetryConfig, True),
    "queue_config": (QueueConfig, False),
    "batch": (BatchConfig, True),
    "circuit_breaker": (CircuitBreakerConfig, False),
}
"""What these fields are, and whether they may be None."""


def _is_socket(url: str) -> bool:
    parts = urlsplit(url)
    try:
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or too large
        return False
