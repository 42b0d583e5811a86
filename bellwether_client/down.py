"""Why a connection ended, and whether to try again. Pure."""

from dataclasses import dataclass

from bellwether_client.codes import (
    CloseCode,
    DisconnectReason,
    close_meaning,
    close_reason,
    reconnects,
)
from bellwether_client.errors import ConnectionError, NotificationError
from bellwether_client.frames import Disconnect
from bellwether_client.transport import Refused

NO_CODE = 1005
"""No code in the close frame: not our server's doing, but that of something in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """The end of a connection. retry_after: milliseconds; the server's wish wins over the backoff.

    health: of the server, where it told. is_own: whether this side dropped a connection that was
    well, which is no failure to count.
    """

    error: ConnectionError
    retry: bool
    retry_after: float | None = None
    health: float | None = None
    is_own: bool = False


def closed(code: int, farewell: Disconnect | None, refusal: NotificationError | None) -> Down:
    """Judge a close by what came before it.

    farewell: says more than the close, which may be lost (1006). refusal: what answered `auth`.
    """
    if farewell is not None:
        told = farewell.code
    else:
        told = CloseCode.ABNORMAL.value if code == NO_CODE else code
    words = farewell.reason if farewell is not None else ""
    message = words or (refusal.message if refusal is not None else close_meaning(told))
    error = ConnectionError(close_reason(told), message, close_code=told)
    error.__cause__ = refusal
    if farewell is None:
        return Down(
            error=error,
            retry=reconnects(told),
            retry_after=None if refusal is None else refusal.retry_after,
        )
    return Down(
        error=error,
        retry=farewell.reconnect,
        retry_after=farewell.retry_after,
        health=farewell.health,
    )


def unauthenticated(error: BaseException) -> Down:
    """Judge what the token function raised: only a refusal that is not temporary is final."""
    if not isinstance(error, NotificationError):
        failure = ConnectionError("network_error", str(error) or type(error).__name__)
        failure.__cause__ = error
        return Down(error=failure, retry=True)
    reason: DisconnectReason = "network_error" if error.temporary else "authentication_failed"
    failure = ConnectionError(reason, error.message)
    failure.__cause__ = error
    return Down(error=failure, retry=error.temporary, retry_after=error.retry_after)


def refused(error: Refused) -> Down:
    """Judge an upgrade that was answered with an HTTP status."""
    retry = error.status in (408, 425, 429) or error.status >= 500
    reason: DisconnectReason = "network_error" if retry else "protocol_error"
    failure = ConnectionError(reason, str(error), status=error.status)
    return Down(error=failure, retry=retry, retry_after=error.retry_after)


def failed(reason: DisconnectReason, message: str, *, retry: bool) -> Down:
    """Judge a failure that this side noticed."""
    return Down(error=ConnectionError(reason, message), retry=retry)


def overwhelmed() -> Down:
    """Judge that this side gives up a connection which brings more than the handlers take."""
    text = "More messages wait for handlers than may: it goes on when half are handled."
    return Down(error=ConnectionError("client_initiated", text), retry=True, is_own=True)
