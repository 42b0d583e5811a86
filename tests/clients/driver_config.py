"""A scenario's configuration, in the names of TypeScript, as that of the Python client."""

import re
from collections.abc import Callable
from typing import Any

from bellwether_client import (
    BatchConfig,
    CircuitBreakerConfig,
    Cursor,
    Last,
    NotificationClientConfig,
    NotificationMessage,
    QueueConfig,
    RetryConfig,
    Storage,
    SubscriptionOptions,
)
from bellwether_client.config import Auth

_PARTS = {
    "retryConfig": RetryConfig,
    "queueConfig": QueueConfig,
    "circuitBreaker": CircuitBreakerConfig,
    "batch": BatchConfig,
}


def snake(name: str) -> str:
    """Return a camelCase name as Python writes it."""
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def config_of(config: dict[str, Any], auth: Auth, storage: Storage) -> NotificationClientConfig:
    """Make the configuration of a client."""
    values = {
        snake(name): _PARTS[name](**_snaked(value)) if name in _PARTS else value
        for name, value in config.items()
    }
    return NotificationClientConfig(**values | {"auth": auth, "storage": storage})


def options_of(
    options: dict[str, Any], on_error: Callable[[Exception, NotificationMessage[Any]], None]
) -> SubscriptionOptions:
    """Make a subscription's options. on_error: used where the scenario asks for it."""
    values = {snake(name): value for name, value in options.items()}
    if values.get("on_error"):
        values["on_error"] = on_error
    if "filter" in values:
        values["filter"] = _filter(values["filter"])
    if "since" in values:
        since = values["since"]
        values["since"] = Last(count=since["last"]) if "last" in since else cursor_of(since)
    return SubscriptionOptions(**values)


def publish_options(options: dict[str, Any]) -> dict[str, Any]:
    """Make the keyword arguments of `publish`."""
    return _snaked(options)


def cursor_of(cursor: dict[str, Any]) -> Cursor:
    """Make a cursor."""
    return Cursor(**cursor)


def plain(value: Any) -> Any:
    """Return a cursor as a scenario writes it."""
    return value.to_wire() if isinstance(value, Cursor) else value


def _snaked(values: dict[str, Any]) -> dict[str, Any]:
    return {snake(name): value for name, value in values.items()}


def _filter(wanted: Any) -> Callable[[NotificationMessage[Any]], bool]:
    def filtered(message: NotificationMessage[Any]) -> bool:
        if wanted == "throw":
            raise ValueError("thrown by the filter")
        return message.payload not in wanted["without"]

    return filtered
