"""Rows for tests of reads, put into the tables without the services that usually write them."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import User
from notifications.models import Message, Partition, Session, Subscription, Topic

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def topic(name: str, *, seq: int = 1) -> Topic:
    """Make a topic that had `seq` messages."""
    return Topic.objects.create(
        name=name, partition_id=0, seq=seq, created_at=NOW, last_published_at=NOW
    )


def messages(name: str, count: int, **fields: Any) -> list[Message]:
    """Make a topic with messages 1 to count; the payload is the seq unless fields say otherwise."""
    parent = topic(name, seq=count)
    Partition.objects.filter(pk=0).update(head=count)
    return Message.objects.bulk_create(
        Message(
            **{
                "id": uuid.uuid4(),
                "partition_id": 0,
                "offset": seq,
                "topic": parent,
                "seq": seq,
                "payload": str(seq),
                "publisher": "system",
                "published_at": NOW + timedelta(seconds=seq),
            }
            | fields
        )
        for seq in range(1, count + 1)
    )


def session(principal: str, client_id: str = "c", *, ended: bool = False, **fields: Any) -> Session:
    """Make a session, connected unless it has ended or fields say otherwise."""
    state = Session.State.DISCONNECTED if ended else Session.State.CONNECTED
    return Session.objects.create(
        **{
            "secret_digest": uuid.uuid4().hex,
            "principal": principal,
            "client_id": client_id,
            "state": state,
            "since": NOW,
            "created_at": NOW,
            "ended_at": NOW if ended else None,
        }
        | fields
    )


def subscription(principal: str, pattern: str, client_id: str = "c") -> Subscription:
    """Make a subscription."""
    return Subscription.objects.create(
        principal=principal, client_id=client_id, pattern=pattern, created_at=NOW
    )


def user(name: str) -> User:
    """Make a user without grants."""
    return User.objects.create_user(name)
