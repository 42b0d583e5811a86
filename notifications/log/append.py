"""Append: one transaction that gives every publication its place.

The locks are taken in one order by everybody (partitions ascending, then what hangs on them), so
two processes that append at once wait for each other and never deadlock. A partition stays locked
to the commit: its offsets are gapless and in commit order.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from django.db import transaction

from notifications.log.records import (
    Appended,
    CarriedBefore,
    Conflicting,
    Outcome,
    Publication,
    Record,
    new_message_ids,
    now_ms,
)
from notifications.log.statements import KeyRow, MessageRow, Statements, TopicRow, statements


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
    sent = statements()
    with sent.together(), transaction.atomic(durable=True):
        heads = sent.lock_heads(sorted({publication.partition for publication in publications}))
        fresh = _settle_outbox(sent, publications, outcomes)
        fresh, repeats = _settle_keys(sent, publications, fresh, outcomes)
        records = _insert(sent, publications, fresh, heads, outcomes) if fresh else []
        for index, first in repeats:
            outcomes[index] = _same_key(publications[index], publications[first], outcomes[first])
        before_commit()
    settled = [outcome for outcome in outcomes if outcome is not None]
    assert len(settled) == len(publications), "an outcome is missing, so others would be shifted"
    return settled, records


def _settle_outbox(
    sent: Statements, publications: Sequence[Publication], outcomes: list[Outcome | None]
) -> list[int]:
    """Delete the outbox rows that are carried on; return the indexes still to append."""
    carried = {p.outbox_id for p in publications if p.outbox_id is not None}
    if not carried:
        return list(range(len(publications)))
    ours = sent.take_pending(carried)
    fresh = []
    for index, publication in enumerate(publications):
        if publication.outbox_id is None or publication.outbox_id in ours:
            ours.discard(publication.outbox_id or 0)  # the same row twice in one batch: once
            fresh.append(index)
        else:
            outcomes[index] = CarriedBefore(publication.outbox_id)
    return fresh


def _settle_keys(
    sent: Statements,
    publications: Sequence[Publication],
    fresh: list[int],
    outcomes: list[Outcome | None],
) -> tuple[list[int], list[tuple[int, int]]]:
    """Answer retries from their first answer.

    Returns the indexes still to append, and (index, index of the first) for a key that stands
    twice in this batch.
    """
    identities = {
        (publications[index].publisher, key)
        for index in fresh
        if (key := publications[index].idempotency_key) is not None
    }
    if not identities:
        return fresh, []
    known = sent.known_keys(sorted(identities))
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
                    id=row.message_id,
                    topic=row.topic,
                    seq=row.seq,
                    partition=row.partition,
                    offset=row.offset,
                    published_at=row.published_at,
                    duplicate=True,
                )
                if row.digest == publication.digest
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
    sent: Statements,
    publications: Sequence[Publication],
    fresh: list[int],
    locked: Callable[[], dict[int, int]],
    outcomes: list[Outcome | None],
) -> list[Record]:
    published_at = now_ms()
    counts = Counter(publications[index].topic for index in fresh)
    partitions = {publications[index].topic: publications[index].partition for index in fresh}
    # In name order, so that transactions that advance the same topics wait in turn.
    advanced = sent.advance_topics(
        [TopicRow(name, partitions[name], counts[name]) for name in sorted(counts)],
        now=published_at,
    )
    heads = locked()
    topics = {name: (pk, seq - counts[name]) for name, (pk, seq) in advanced().items()}
    records, messages, keys = [], [], []
    for index, message_id in zip(fresh, new_message_ids(published_at, len(fresh)), strict=True):
        publication = publications[index]
        partition, topic = publication.partition, publication.topic
        topic_id, seq = topics[topic]
        seq += 1
        topics[topic] = (topic_id, seq)
        offset = heads[partition] = heads[partition] + 1
        records.append(
            Record(
                partition,
                offset,
                message_id,
                topic,
                seq,
                published_at,
                publication.payload,
                publication.metadata,
                publication.expires_at,
                publication.urgent,
            )
        )
        messages.append(
            MessageRow(
                message_id,
                partition,
                offset,
                topic_id,
                seq,
                publication.payload.decode(),
                publication.metadata.decode(),
                publication.publisher,
                publication.expires_at,
            )
        )
        outcomes[index] = Appended(message_id, topic, seq, partition, offset, published_at)
        if publication.idempotency_key is not None:
            keys.append(
                KeyRow(
                    publication.publisher,
                    publication.idempotency_key,
                    publication.digest,
                    message_id,
                    topic,
                    seq,
                    partition,
                    offset,
                    published_at + publication.key_window * 1000,
                )
            )
    sent.insert_messages(messages, published_at=published_at)
    if keys:
        # In key order: transactions that insert the same keys then wait in turn, not in a circle.
        sent.insert_keys(sorted(keys), published_at=published_at)
    sent.move_heads(heads)
    return records
