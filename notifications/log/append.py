"""Append: one transaction that gives every publication its place.

The locks are taken in one order by everybody (partitions ascending, then what hangs on them), so
two processes that append at once wait for each other and never deadlock. A partition stays locked
to the commit: its offsets are gapless and in commit order.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, transaction

from notifications.log.records import (
    Appended,
    CarriedBefore,
    Conflicting,
    Outcome,
    Publication,
    Record,
    new_message_id,
    now_ms,
    to_datetime,
    to_ms,
)
from notifications.models import IdempotencyKey, Message, Partition, PendingPublication

_ADVANCE_TOPICS = """
INSERT INTO notifications_topic (name, partition_id, seq, created_at, last_published_at)
VALUES {rows}
ON CONFLICT (name) DO UPDATE SET
    seq = notifications_topic.seq + excluded.seq,
    last_published_at = excluded.last_published_at
RETURNING name, id, seq
"""


def append(
    publications: Sequence[Publication], *, before_commit: Callable[[], None] = lambda: None
) -> tuple[list[Outcome], list[Record]]:
    """Append publications in their order, all or none; must not run inside a transaction.

    before_commit: called as the last thing before COMMIT; when an error comes without it having
    been called, nothing was committed.
    Returns an outcome for each publication, and the new records in offset order per partition.
    Raises django.db.Error subclasses when the database refuses or is away.
    """
    outcomes: list[Outcome | None] = [None] * len(publications)
    with transaction.atomic(durable=True):
        partitions = sorted({publication.partition for publication in publications})
        heads = dict(
            Partition.objects.select_for_update()
            .filter(pk__in=partitions)
            .order_by("pk")
            .values_list("pk", "head")
        )
        fresh = _settle_outbox(publications, outcomes)
        fresh, repeats = _settle_keys(publications, fresh, outcomes)
        records = _insert(publications, fresh, heads, outcomes) if fresh else []
        for index, first in repeats:
            outcomes[index] = _same_key(publications[index], publications[first], outcomes[first])
        before_commit()
    settled = [outcome for outcome in outcomes if outcome is not None]
    assert len(settled) == len(publications), "an outcome is missing, so others would be shifted"
    return settled, records


def _settle_outbox(
    publications: Sequence[Publication], outcomes: list[Outcome | None]
) -> list[int]:
    """Delete the outbox rows that are carried on; return the indexes still to append."""
    carried = [p.outbox_id for p in publications if p.outbox_id is not None]
    if not carried:
        return list(range(len(publications)))
    rows = PendingPublication.objects.select_for_update().filter(pk__in=carried).order_by("pk")
    ours = set(rows.values_list("pk", flat=True))
    PendingPublication.objects.filter(pk__in=ours).delete()
    fresh = []
    for index, publication in enumerate(publications):
        if publication.outbox_id is None or publication.outbox_id in ours:
            ours.discard(publication.outbox_id or 0)  # the same row twice in one batch: once
            fresh.append(index)
        else:
            outcomes[index] = CarriedBefore(publication.outbox_id)
    return fresh


def _settle_keys(
    publications: Sequence[Publication], fresh: list[int], outcomes: list[Outcome | None]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Answer retries from their first answer.

    Returns the indexes still to append, and (index, index of the first) for a key that stands
    twice in this batch.
    """
    keys = {publications[i].idempotency_key for i in fresh} - {None}
    if not keys:
        return fresh, []
    publishers = {publications[i].publisher for i in fresh}
    known = {
        (row.publisher, row.key): row
        for row in IdempotencyKey.objects.filter(key__in=keys, publisher__in=publishers)
    }
    first_in_batch: dict[tuple[str, str], int] = {}
    remaining, repeats = [], []
    for index in fresh:
        publication = publications[index]
        if publication.idempotency_key is None:
            remaining.append(index)
            continue
        identity = (publication.publisher, publication.idempotency_key)
        if (row := known.get(identity)) is not None:
            outcomes[index] = (
                Appended(
                    id=str(row.message_id),
                    topic=row.topic,
                    seq=row.seq,
                    partition=row.partition,
                    offset=row.offset,
                    published_at=to_ms(row.published_at),
                    duplicate=True,
                )
                if bytes(row.digest) == publication.digest
                else Conflicting(publication.idempotency_key)
            )
        elif identity in first_in_batch:
            repeats.append((index, first_in_batch[identity]))
        else:
            first_in_batch[identity] = index
            remaining.append(index)
    return remaining, repeats


def _same_key(second: Publication, first: Publication, outcome: Outcome | None) -> Outcome:
    assert isinstance(outcome, Appended)
    if second.digest != first.digest:
        return Conflicting(second.idempotency_key or "")
    return Appended(
        id=outcome.id,
        topic=outcome.topic,
        seq=outcome.seq,
        partition=outcome.partition,
        offset=outcome.offset,
        published_at=outcome.published_at,
        duplicate=True,
    )


def _insert(
    publications: Sequence[Publication],
    fresh: list[int],
    heads: dict[int, int],
    outcomes: list[Outcome | None],
) -> list[Record]:
    published_at = now_ms()
    topics = _advance_topics(
        Counter(publications[i].topic for i in fresh),
        {publications[i].topic: publications[i].partition for i in fresh},
        published_at,
    )
    records, messages, keys = [], [], []
    for index in fresh:
        publication = publications[index]
        topic_id, seq = topics[publication.topic]
        topics[publication.topic] = (topic_id, seq + 1)
        offset = heads[publication.partition] = heads[publication.partition] + 1
        message_id = new_message_id(published_at)
        record = Record(
            publication.partition,
            offset,
            str(message_id),
            publication.topic,
            seq,
            published_at,
            publication.payload,
            publication.metadata,
            publication.expires_at,
            publication.urgent,
        )
        records.append(record)
        messages.append(
            Message(
                id=message_id,
                partition_id=publication.partition,
                offset=offset,
                topic_id=topic_id,
                seq=seq,
                payload=publication.payload.decode(),
                metadata=publication.metadata.decode(),
                publisher=publication.publisher,
                published_at=to_datetime(published_at),
                expires_at=to_datetime(publication.expires_at) if publication.expires_at else None,
            )
        )
        outcomes[index] = Appended(
            record.id, record.topic, seq, record.partition, offset, published_at
        )
        if publication.idempotency_key is not None:
            keys.append(
                IdempotencyKey(
                    publisher=publication.publisher,
                    key=publication.idempotency_key,
                    digest=publication.digest,
                    message_id=message_id,
                    topic=record.topic,
                    seq=seq,
                    partition=record.partition,
                    offset=offset,
                    published_at=to_datetime(published_at),
                    expires_at=to_datetime(published_at + publication.key_window * 1000),
                )
            )
    Message.objects.bulk_create(messages)
    if keys:
        # In key order: transactions that insert the same keys then wait in turn, not in a circle.
        IdempotencyKey.objects.bulk_create(sorted(keys, key=lambda row: (row.publisher, row.key)))
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE notifications_partition SET head = %s WHERE id = %s",
            [(head, partition) for partition, head in heads.items()],
        )
    return records


def _advance_topics(
    counts: Counter[str], partitions: dict[str, int], published_at: int
) -> dict[str, tuple[int, int]]:
    """Advance each topic's seq by its count; return its row's id and the first new seq.

    One statement for all, in name order; it makes the topics that did not exist.
    """
    moment = connection.ops.adapt_datetimefield_value(to_datetime(published_at))
    values: list[Any] = []
    for name in sorted(counts):
        values += [name, partitions[name], counts[name], moment, moment]
    rows = ", ".join(["(%s, %s, %s, %s, %s)"] * len(counts))
    with connection.cursor() as cursor:
        cursor.execute(_ADVANCE_TOPICS.format(rows=rows), values)
        return {name: (pk, seq - counts[name] + 1) for name, pk, seq in cursor.fetchall()}
