"""Rows of every kind, with hostile names wherever a stranger chooses them."""

from datetime import timedelta
from typing import Any

from django.db.models import Model
from django.utils import timezone

from accounts.models import User
from notifications.models import (
    Delivery,
    IdempotencyKey,
    Message,
    Partition,
    PendingPublication,
    Redelivery,
    Server,
    Session,
    Subscription,
    Topic,
    TopicPolicy,
)

HOSTILE = "<img src=x onerror=alert(1)>"


def session(user: User | None, client_id: str = HOSTILE, **fields: Any) -> Session:
    """Make a session."""
    now = timezone.now()
    values: dict[str, Any] = {
        "secret_digest": f"{client_id}{Session.objects.count()}"[:64],
        "principal": user.principal_id if user else "key:1",
        "user": user,
        "client_id": client_id,
        "state": Session.State.CONNECTED,
        "since": now,
        "created_at": now,
        "client_name": HOSTILE,
        "capabilities": [HOSTILE],
    }
    return Session.objects.create(**values | fields)


def subscription(user: User | None, pattern: str, client_id: str = HOSTILE) -> Subscription:
    """Make a subscription."""
    return Subscription.objects.create(
        principal=user.principal_id if user else "key:1",
        user=user,
        client_id=client_id,
        pattern=pattern,
        options={"filter": HOSTILE},
        begin={"0": 5},
        created_at=timezone.now(),
    )


def server(name: str = "host-1", **fields: Any) -> Server:
    """Make a server that is alive."""
    now = timezone.now()
    values: dict[str, Any] = {"host": "host", "pid": 1, "started_at": now, "seen_at": now}
    return Server.objects.create(id=name, **values | fields)


def message(number: int = 1, *, topic: str = "a.b", payload: str = '{"a":1}') -> Message:
    """Make a message straight in the table; its log position is not kept consistent."""
    now = timezone.now()
    partition = Partition.objects.get(pk=0)
    row, _ = Topic.objects.get_or_create(
        name=topic,
        defaults={"partition": partition, "seq": 1, "created_at": now, "last_published_at": now},
    )
    return Message.objects.create(
        id=f"01a205b5-8902-73a5-a1e6-{number:012d}",
        partition=partition,
        offset=number,
        topic=row,
        seq=number,
        payload=payload,
        metadata=f'{{"source":"{HOSTILE}"}}',
        publisher="user:1",
        published_at=now,
        expires_at=now + timedelta(hours=2),
    )


def pending(topic: str = "left.behind", **fields: Any) -> PendingPublication:
    """Make an outbox row that waits for its next attempt."""
    now = timezone.now()
    values: dict[str, Any] = {
        "payload": f'"{HOSTILE}"',
        "publisher": "system",
        "created_at": now - timedelta(minutes=5),
        "next_attempt_at": now + timedelta(minutes=5),
        "attempts": 3,
        "last_error": HOSTILE,
    }
    return PendingPublication.objects.create(topic=topic, **values | fields)


def key(text: str = HOSTILE) -> IdempotencyKey:
    """Make an idempotency key."""
    return IdempotencyKey.objects.create(
        publisher="user:1",
        key=text,
        digest=b"\0" * 32,
        message_id="01a205b5-8902-73a5-a1e6-000000000001",
        topic="a.b",
        seq=1,
        partition=0,
        offset=1,
        published_at=timezone.now(),
        expires_at=timezone.now() + timedelta(days=1),
    )


def delivery(to: Session, number: int = 1, **fields: Any) -> Delivery:
    """Make a delivery of the message with this number that was given up."""
    values: dict[str, Any] = {
        "message_id": f"01a205b5-8902-73a5-a1e6-{number:012d}",
        "topic": "a.b",
        "partition": 0,
        "offset": number,
        "publisher": HOSTILE,
        "state": Delivery.State.UNDELIVERED,
        "reason": HOSTILE,
        "since": timezone.now(),
    }
    return Delivery.objects.create(session=to, **values | fields)


def redelivery(to: Session | None, topic: str = "a.b") -> Redelivery:
    """Make a wish for the first message of a topic."""
    return Redelivery.objects.create(
        topic=topic, partition=0, after=0, up_to=1, session=to, created_at=timezone.now()
    )


def one_of_each(user: User, suffix: str = "") -> list[Model]:
    """Make a row of every model that strangers fill."""
    number = Message.objects.count() + 1
    home = server(f"host{suffix}")
    here = session(
        user,
        HOSTILE + suffix,
        server=home,
        acked={"epoch": HOSTILE, "offsets": {"0": 7}},
        acked_at=timezone.now(),
    )
    return [
        here,
        subscription(user, f"a.{suffix or 'x'}", HOSTILE + suffix),
        home,
        message(number, topic=f"a.b{suffix}", payload=f'{{"x":"{HOSTILE}"}}'),
        Topic.objects.get(name=f"a.b{suffix}"),
        TopicPolicy.objects.create(pattern=f"p.{suffix or 'x'}", ttl=5400),
        pending(f"left.behind{suffix}"),
        key(HOSTILE + suffix),
        delivery(here, number),
        redelivery(here),
    ]
