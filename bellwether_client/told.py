"""Who hears of what becomes of subscriptions."""

from typing import Protocol

from bellwether_client.entry import Entry
from bellwether_client.errors import NotificationError
from bellwether_client.subscription import LocalSubscription


class Told(Protocol):
    """Who hears of what becomes of subscriptions."""

    def subscription_ended(self, local: LocalSubscription, error: NotificationError) -> None:
        """The server refused or ended one."""

    def orphan_found(self, entry: Entry) -> None:
        """The server holds one that has no handler; told once."""

    def replay_lost(self, entry: Entry) -> None:
        """A replay was cut off, and cannot be had again."""

    def subscriptions_changed(self) -> None:
        """What has to survive a restart changed."""

    def restored(self) -> None:
        """All that was to be restored on this connection has been answered."""
