"""Publishing: the one way by which messages enter the log, whatever the door.

From Django code::

    from notifications.services import publish, publish_on_commit

    publish("user.7.orders", {"id": 123, "state": "paid"})           # durable when it returns
    with transaction.atomic():
        order.save()
        publish_on_commit("user.7.orders", {"id": order.pk})          # if and only if this commits
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog
from django.db import connection, transaction

from accounts.principal import Principal
from notifications.conf import conf
from notifications.errors import BadFrame, Conflict, Forbidden, NotificationError, PayloadTooLarge
from notifications.log.identity import log_identity
from notifications.log.records import (
    Appended,
    Conflicting,
    Outcome,
    Publication,
    Unwritten,
    is_urgent,
    now_ms,
    to_datetime,
    to_ms,
)
from notifications.models import PendingPublication
from notifications.permissions import require_publish
from notifications.protocol.frames import Metadata
from notifications.protocol.instants import format_instant, parse_instant
from notifications.protocol.limits import check_payload
from notifications.services.policies import policies
from notifications.services.writer import writer
from notifications.topics.grammar import is_reserved, parse_topic
from notifications.topics.partitions import partition_of

MAX_KEY = 128
"""Characters in an idempotency key."""

logger = structlog.get_logger(__name__)


class PublishInTransactionError(RuntimeError):
    """publish() was called inside a transaction, where its promise cannot be kept."""


def publish(
    topic: str,
    payload: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    principal: Principal | None = None,
) -> Appended:
    """Publish a message and return when it is durable. Blocking; at most two seconds.

    payload: any JSON value. metadata: `priority`, `expiresAt`, `correlationId`, `source`.
    principal: who publishes; None is the project's own code, which may publish anywhere.

    Raises BadTopic, BadFrame, PayloadTooLarge, Forbidden, Conflict, Unavailable, Overloaded, and
    PublishInTransactionError inside `transaction.atomic()`: use publish_on_commit() there.
    """
    if connection.in_atomic_block:
        raise PublishInTransactionError(
            "publish() is durable when it returns, so it cannot be undone by the transaction that "
            "surrounds it. Use publish_on_commit(), or call publish() after the transaction."
        )
    policies.refresh()
    publication = _from_values(topic, payload, metadata, idempotency_key, principal)
    return appended(writer().append([publication])[0])


def publish_on_commit(
    topic: str,
    payload: Any,
    *,
    metadata: Mapping[str, Any] | None = None,
    principal: Principal | None = None,
) -> None:
    """Publish when the surrounding transaction commits, and only then.

    The publication is written to the outbox in that transaction. After the commit this process
    appends it; if the process dies in between, a sweep does. It is appended exactly once.
    What goes to an ephemeral topic is not kept here either: it is relayed after the commit.
    Raises BadTopic, BadFrame, PayloadTooLarge, Forbidden.
    """
    policies.refresh()
    publication = _from_values(topic, payload, metadata, None, principal)
    if publication.ephemeral:
        transaction.on_commit(partial(_carry_on, publication))
        return
    row = PendingPublication.objects.create(
        topic=publication.topic,
        payload=publication.payload.decode(),
        metadata=publication.metadata.decode(),
        publisher=publication.publisher,
        expires_at=to_datetime(publication.expires_at) if publication.expires_at else None,
    )
    carried = msgspec.structs.replace(publication, outbox_id=row.pk)
    transaction.on_commit(partial(_carry_on, carried))


def prepare(
    *,
    topic: object,
    payload: bytes,
    metadata: Metadata | None,
    idempotency_key: str | None,
    principal: Principal | None,
) -> Publication:
    """Check a publication and give it its partition. Never blocks.

    payload: compact JSON, as a `publish` frame has it or protocol.limits.check_payload returns it.
    Syntax and permission come before the key, so a key tells nobody what they may not know.
    Raises BadTopic, BadFrame, PayloadTooLarge, Forbidden.
    """
    name = parse_topic(topic)
    if is_reserved(name):
        raise Forbidden("Topics under $sys are the server's own; publish elsewhere.")
    if principal is not None:
        require_publish(principal, name)
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= MAX_KEY:
        raise BadFrame(f"idempotencyKey has 1 to {MAX_KEY} characters.")
    policy = policies.of(name)
    if policy.payload_bytes is not None and len(payload) > policy.payload_bytes:
        raise PayloadTooLarge(
            f"The payload is {len(payload)} bytes; the policy of {policy.pattern!r} allows "
            f"{policy.payload_bytes}."
        )
    expires_at, encoded = 0, b""
    if metadata is not None:
        if metadata.expires_at is not None:
            expires_at = parse_instant(metadata.expires_at)
            # Every client reads one form of instants; a publisher may write any of RFC 3339.
            metadata = msgspec.structs.replace(metadata, expires_at=format_instant(expires_at))
        encoded = msgspec.json.encode(metadata)
        if encoded == b"{}":
            encoded = b""
    if policy.ttl is not None:
        limit = now_ms() + policy.ttl * 1000
        expires_at = min(expires_at, limit) if expires_at else limit
    return Publication(
        topic=name,
        partition=partition_of(name, log_identity().partition_count),
        payload=payload,
        metadata=encoded,
        urgent=is_urgent(encoded),
        expires_at=expires_at,
        publisher=principal.id if principal is not None else "system",
        idempotency_key=idempotency_key,
        digest=body_digest(name, payload, encoded) if idempotency_key is not None else b"",
        key_window=policy.idempotency or int(conf().idempotency),
        ephemeral=policy.ephemeral,
    )


def appended(outcome: Outcome) -> Appended:
    """Return where a publication stands.

    Raises Conflict when its key has another body, and what became of it when it was not written.
    """
    if isinstance(outcome, Unwritten):
        raise outcome.error
    if isinstance(outcome, Conflicting):
        raise Conflict(
            f"The idempotency key {outcome.idempotency_key!r} was used with another body. "
            "Use a new key for a new message."
        )
    assert isinstance(outcome, Appended)
    return outcome


def publication_of_row(row: PendingPublication) -> Publication:
    """Make the publication that an outbox row stands for."""
    metadata = row.metadata.encode()
    return Publication(
        topic=row.topic,
        partition=partition_of(row.topic, log_identity().partition_count),
        payload=row.payload.encode(),
        metadata=metadata,
        urgent=is_urgent(metadata),
        expires_at=to_ms(row.expires_at) if row.expires_at else 0,
        publisher=row.publisher,
        outbox_id=row.pk,
    )


def body_digest(topic: str, payload: bytes, metadata: bytes) -> bytes:
    """Digest a body as a JSON value: key order, spacing and 1.0 for 1 make no difference."""
    decoder = msgspec.json.Decoder(float_hook=_number)
    value = [topic, decoder.decode(payload), decoder.decode(metadata) if metadata else None]
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def _from_values(
    topic: str,
    payload: Any,
    metadata: Mapping[str, Any] | None,
    idempotency_key: str | None,
    principal: Principal | None,
) -> Publication:
    try:
        encoded = msgspec.json.encode(payload)
        known = msgspec.convert(metadata, Metadata) if metadata is not None else None
    except (TypeError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise BadFrame(f"The payload or the metadata is no JSON value: {error}") from error
    return prepare(
        topic=topic,
        payload=check_payload(encoded),
        metadata=known,
        idempotency_key=idempotency_key,
        principal=principal,
    )


def _carry_on(publication: Publication) -> None:
    """Hand what was committed (an outbox row, or nothing) to the writer without waiting for it."""
    try:
        writer().submit([publication])
    except NotificationError as error:
        event = (
            "an ephemeral message is dropped"
            if publication.ephemeral
            else "a pending publication waits for the sweep"
        )
        logger.warning(event, error=error.message)


__all__: Sequence[str] = ("appended", "prepare", "publish", "publish_on_commit")
