"""The hub: one per server process, between the log and the connections."""

from notifications.hub.hub import Hub
from notifications.hub.subscriber import Subscriber

__all__ = ["Hub", "Subscriber"]
