"""The operator's pages. Most are to look at: what only the system may write is not edited here."""

from notifications.admin.clients import SessionAdmin, SubscriptionAdmin
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
    "IdempotencyKeyAdmin",
    "LogAdmin",
    "MessageAdmin",
    "PartitionAdmin",
    "PendingPublicationAdmin",
    "ServerAdmin",
    "SessionAdmin",
    "SubscriptionAdmin",
    "TopicAdmin",
    "TopicPolicyAdmin",
]
