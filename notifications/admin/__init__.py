"""The operator's pages. Most are to look at: what only the system may write is not edited here."""

from notifications.admin.clients import SessionAdmin, SubscriptionAdmin
from notifications.admin.deliveries import DeliveryAdmin, RedeliveryAdmin
from notifications.admin.log import (
    IdempotencyKeyAdmin,
    LogAdmin,
    MessageAdmin,
    PartitionAdmin,
    TopicAdmin,
)
from notifications.admin.publishing import PendingPublicationAdmin, TopicPolicyAdmin
from notifications.admin.servers import ServerAdmin

__all__ = [
    "DeliveryAdmin",
    "IdempotencyKeyAdmin",
    "LogAdmin",
    "MessageAdmin",
    "PartitionAdmin",
    "PendingPublicationAdmin",
    "RedeliveryAdmin",
    "ServerAdmin",
    "SessionAdmin",
    "SubscriptionAdmin",
    "TopicAdmin",
    "TopicPolicyAdmin",
]
