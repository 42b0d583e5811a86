"""A connection as its process sees it."""

import uuid
from datetime import datetime
from typing import Protocol

from accounts.principal import Principal
from notifications.hub import Subscriber
from notifications.services.sessions import SessionChange


class LiveConnection(Protocol):
    """What the process needs of a connection."""

    handle: uuid.UUID | None
    connects: int
    principal: Principal | None
    subscriber: Subscriber

    def check_deadlines(self, now: float) -> None:
        """Ping when it is time; close when the peer is silent or the token has expired."""

    def disconnect(self, code: int, reason: str) -> None:
        """Close from the server's side."""

    def end_subscription(self, subscription_id: str, *, code: str | None, reason: str) -> None:
        """Stop delivering what only this subscription wants, and say so; nothing if unknown."""

    def subscriptions_changed(self, at: datetime) -> None:
        """Have what others changed in the client's subscriptions take effect soon.

        at: when they did; nothing happens where that has been seen to already.
        """

    def revoke(self) -> None:
        """Close because what the connection authenticated with was revoked; end its session."""

    def describe(self) -> SessionChange | None:
        """Return the state of the session as it is now, or None without one."""
