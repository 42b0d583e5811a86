"""Every error that crosses a boundary: one code, one HTTP status, a message that says what to do.

::

    NotificationError            code, status, temporary, retry_after, data
    ├── BadFrame                 BAD_FRAME             400
    ├── BadTopic                 BAD_TOPIC             400
    ├── BadCursor                BAD_CURSOR            400
    ├── UnknownType              UNKNOWN_TYPE          400
    ├── Unauthenticated          UNAUTHENTICATED       401
    ├── TokenExpired             TOKEN_EXPIRED         401
    ├── Forbidden                FORBIDDEN             403
    ├── UnknownTopic             UNKNOWN_TOPIC         404
    ├── UnknownSubscription      UNKNOWN_SUBSCRIPTION  404
    ├── Conflict                 CONFLICT              409
    ├── AlreadySubscribed        ALREADY_SUBSCRIBED    409
    ├── PayloadTooLarge          PAYLOAD_TOO_LARGE     413
    ├── RateLimited              RATE_LIMITED          429  temporary
    ├── TooManySubscriptions     LIMIT_SUBSCRIPTIONS   429
    ├── TooManyConnections       LIMIT_CONNECTIONS     429  temporary
    ├── InternalError            INTERNAL              500  temporary
    ├── Unavailable              UNAVAILABLE           503  temporary
    └── Overloaded               OVERLOADED            503  temporary

A temporary error may succeed when the same request is sent again, after `retry_after` if given.
The table is section 4 of docs/protocol.md; tests compare the two.
"""

from typing import Any, ClassVar


class NotificationError(Exception):
    """An answer to a request that cannot be granted.

    message: for a person; says what to do about it.
    retry_after: milliseconds until a retry is worth while, or None.
    data: JSON values that a program may use, such as the id that already exists.
    """

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.data = data


class BadFrame(NotificationError):
    """The request is not what the protocol describes."""

    code, status = "BAD_FRAME", 400


class BadTopic(NotificationError):
    """The topic or pattern breaks the grammar."""

    code, status = "BAD_TOPIC", 400


class BadCursor(NotificationError):
    """A cursor that is no object of epoch and offsets."""

    code, status = "BAD_CURSOR", 400


class UnknownType(NotificationError):
    """A frame type that this server does not serve."""

    code, status = "UNKNOWN_TYPE", 400


class Unauthenticated(NotificationError):
    """No credentials, or credentials that prove nothing."""

    code, status = "UNAUTHENTICATED", 401


class TokenExpired(NotificationError):
    """The access token was good once; a fresh one will do."""

    code, status = "TOKEN_EXPIRED", 401


class Forbidden(NotificationError):
    """No grant covers what was asked for, whether it exists or not."""

    code, status = "FORBIDDEN", 403


class UnknownTopic(NotificationError):
    """Nothing was ever published to the topic."""

    code, status = "UNKNOWN_TOPIC", 404


class UnknownSubscription(NotificationError):
    """The subscription is not one of this client's."""

    code, status = "UNKNOWN_SUBSCRIPTION", 404


class Conflict(NotificationError):
    """The idempotency key was used with another body."""

    code, status = "CONFLICT", 409


class AlreadySubscribed(NotificationError):
    """The client holds this pattern already; data.subscriptionId names it."""

    code, status = "ALREADY_SUBSCRIBED", 409


class PayloadTooLarge(NotificationError):
    """The payload exceeds its limit in the codec in use."""

    code, status = "PAYLOAD_TOO_LARGE", 413


class RateLimited(NotificationError):
    """Too many requests; retry_after says when to go on."""

    code, status, temporary = "RATE_LIMITED", 429, True


class TooManySubscriptions(NotificationError):
    """The client's bound of subscriptions or of patterns is reached."""

    code, status = "LIMIT_SUBSCRIPTIONS", 429


class TooManyConnections(NotificationError):
    """The bound of connections is reached."""

    code, status, temporary = "LIMIT_CONNECTIONS", 429, True


class InternalError(NotificationError):
    """A defect of the server; its log has the details."""

    code, status, temporary = "INTERNAL", 500, True


class Unavailable(NotificationError):
    """The log cannot be written or read now."""

    code, status, temporary = "UNAVAILABLE", 503, True


class Overloaded(NotificationError):
    """A bounded queue is full; nothing was accepted."""

    code, status, temporary = "OVERLOADED", 503, True


ERRORS: dict[str, type[NotificationError]] = {
    error.code: error for error in NotificationError.__subclasses__()
}
"""Every code and its error."""
