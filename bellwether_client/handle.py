"""What the application has of a subscription."""

from datetime import datetime
from typing import Protocol


class Subscription(Protocol):
    """A subscription's handle. created_at: UTC."""

    @property
    def id(self) -> str:
        """Its id here; the server has its own."""

    @property
    def topic(self) -> str:
        """The topic or pattern."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    async def ready(self) -> None:
        """Return when the server confirmed (or the application ended it before).

        Raises NotificationError when the server refused, ConnectionError when the connection ends
        first; the subscription is kept for the next `connect()` then.
        """

    def unsubscribe(self) -> None:
        """End it; nothing more comes."""

    def is_active(self) -> bool:
        """Tell whether it has not ended: a lost connection does not end it."""
