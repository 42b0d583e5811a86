"""What all subscriptions of a client share."""

from typing import TYPE_CHECKING, Any, Protocol

from bellwether_client.backlog import Backlog
from bellwether_client.messages import NotificationMessage
from bellwether_client.tasks import Tasks

if TYPE_CHECKING:
    from bellwether_client.replays import Replay


class Shared(Protocol):
    """What all subscriptions of a client share."""

    tasks: Tasks
    backlog: Backlog

    @property
    def end(self) -> Exception | None:
        """With what the connection ended for good; None where one is, or may come."""

    def now(self) -> float:
        """Milliseconds since the Unix epoch."""

    def leave(self, subscription_id: str) -> None:
        """End a subscription."""

    def handler_failed(self, error: Exception, message: NotificationMessage[Any]) -> None:
        """A handler or filter failed, and nobody else hears of it."""

    def give_up(self, replay: "Replay") -> None:
        """Too much waits for a replay."""
