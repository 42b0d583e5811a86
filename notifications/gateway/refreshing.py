"""Carry out `refresh`: a fresh token for an open connection, and what its user may read now."""

from typing import TYPE_CHECKING
from uuid import UUID

from accounts.principal import Principal
from notifications import metrics
from notifications.database import in_database
from notifications.errors import Forbidden
from notifications.gateway.rates import require_rate
from notifications.log.records import now_ms
from notifications.permissions import may_subscribe
from notifications.protocol.frames import Refresh, Refreshed, Unsubscribed
from notifications.services.subscriptions import drop_subscriptions

if TYPE_CHECKING:
    from notifications.gateway.connection import Connection

BURST = 10
"""Refreshes that a connection may ask for at once."""

RATE = 0.2
"""Refreshes a second that it may go on with; a token lives for minutes."""


async def refresh(connection: "Connection", frame: Refresh) -> None:
    """Carry out a `refresh`; raises a NotificationError that answers it.

    What raises has changed nothing: the connection goes on with the token that it had.
    """
    connection.refreshes = require_rate(
        connection.refreshes,
        rate=RATE,
        burst=BURST,
        refused=metrics.refreshes_refused.labels("rate"),
        advice="This connection was given many tokens lately. Refresh when its token expires soon.",
    )
    before = connection.principal
    assert before is not None
    principal = await connection.process.renewals.ask(frame.token)
    if principal.id != before.id:
        raise Forbidden(
            "This token is not of the user or API key that this connection was opened with. "
            "Open another connection with it."
        )
    await go_by(
        connection,
        principal,
        Refreshed(id=frame.id, expires_in=expires_in(principal.expires_at)),
    )
    connection.check_token()


async def go_by(
    connection: "Connection", principal: Principal, answer: Refreshed | None = None
) -> None:
    """Go on as what a principal may do now; end the subscriptions that it may not read any more.

    answer: what is sent in between.
    """
    held = connection.subscriber.wishes.items()
    ended = [UUID(wish.id) for pattern, wish in held if not may_subscribe(principal, pattern)]
    if ended:
        await in_database(drop_subscriptions, ended)
    if connection.is_closing:
        return
    connection.renew(principal)
    if answer is not None:
        connection.send(answer)
    _end_withdrawn(connection)


def expires_in(expires_at: float | None) -> int | None:
    """Return the milliseconds that a token has left; None where it does not expire.

    expires_at: seconds since 1970.
    """
    return None if expires_at is None else max(0, int(expires_at * 1000) - now_ms())


def _end_withdrawn(connection: "Connection") -> None:
    """Stop delivering what the user may not read any more, and say so."""
    assert connection.principal is not None
    for pattern, wish in list(connection.subscriber.wishes.items()):
        if not may_subscribe(connection.principal, pattern):
            connection.process.hub.remove(connection.subscriber, pattern)
            connection.send(withdrawn_frame(wish.id, pattern))


def withdrawn_frame(subscription_id: str, pattern: str) -> Unsubscribed:
    """Tell a client that it may not read a subscription's topics any more."""
    return Unsubscribed(
        subscription_id=subscription_id,
        code="FORBIDDEN",
        reason=f"The grant for {pattern!r} was withdrawn.",
    )
