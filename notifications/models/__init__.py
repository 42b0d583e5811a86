"""What is persisted. Integrity lives in the constraints; behaviour lives in services."""

from notifications.models.delivery import Delivery, Redelivery
from notifications.models.idempotency import IdempotencyKey
from notifications.models.log import Log, Partition
from notifications.models.message import Message
from notifications.models.outbox import PendingPublication
from notifications.models.policy import TopicPolicy
from notifications.models.server import Server
from notifications.models.session import Session
from notifications.models.subscription import Subscription
from notifications.models.topic import Topic

__all__ = [
    "Delivery",
    "IdempotencyKey",
    "Log",
    "Message",
    "Partition",
    "PendingPublication",
    "Redelivery",
    "Server",
    "Session",
    "Subscription",
    "Topic",
    "TopicPolicy",
]
