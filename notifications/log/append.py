"""Append: one transaction that gives every publication its place.

The locks are taken in one order by everybody (partitions ascending, then what hangs on them), so
two processes that append at once wait for each other and never deadlock. A partition stays locked
to the commit: its offsets are gapless and in commit order.
"""

from collections.abc import Callable, Sequence

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
from notifications.log.statements import Row, Statements, statements


def append(
    publications: Sequence[Publication], *, before_commit: Callable[[], None] = lambda: None
) -> tuple[list[Outcome], list[Record]]:
    """Append publications in their order, all or none; must not run inside a transaction.

    before_commit: called as the last thing before what commits is sent; when an error comes without
    it having been called, nothing was committed.
    Returns an outcome for each publication, and the new records in offset order per partition.
    Raises django.db.Error subclasses when the database refuses or is away; IntegrityError, also
    when another process used one of the idempotency keys meanwhile: try again.
    """
    outcomes: list[Outcome | None] = [None] * len(publications)
    sent = statements()
    with sent.transaction():
        fresh, repeats = _settle_keys(
            sent, publications, _once_each(publications, outcomes), outcomes
        )
        records = _write(sent, publications, fresh, outcomes, before_commit) if fresh else []
        for index, first in repeats:
            outcomes[index] = _repeated(publications[index], publications[first], outcomes[first])
        # Last: an outbox row may go when the message that its key belongs to is in the log.
        settled = set(range(len(publications))) - set(fresh)
        spent = {pk for index in settled if (pk := publications[index].outbox_id) is not None}
        if spent:
            sent.take_pending(spent)
    answers = [outcome for outcome in outcomes if outcome is not None]
    assert len(answers) == len(publications), "an outcome is missing, so others would be shifted"
    return answers, records


def _once_each(publications: Sequence[Publication], outcomes: list[Outcome | None]) -> list[int]:
    """Settle what carries on an outbox row that stands here before; return the other indexes."""
    seen: set[int] = set()
    once = []
    for index, publication in enumerate(publications):
        if (pk := publication.outbox_id) is None or pk not in seen:
            once.append(index)
        else:
            outcomes[index] = CarriedBefore(pk)
        if pk is not None:
            seen.add(pk)
    return once


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


def _repeated(second: Publication, first: Publication, outcome: Outcome | None) -> Outcome:
    if isinstance(outcome, CarriedBefore):
        return outcome
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


def _write(
    sent: Statements,
    publications: Sequence[Publication],
    fresh: list[int],
    outcomes: list[Outcome | None],
    before_commit: Callable[[], None],
) -> list[Record]:
    published_at = now_ms()
    rows = []
    for index, message_id in zip(fresh, new_message_ids(published_at, len(fresh)), strict=True):
        publication = publications[index]
        rows.append(
            Row(
                message_id,
                publication.topic,
                publication.partition,
                publication.payload.decode(),
                publication.metadata.decode(),
                publication.publisher,
                publication.expires_at,
                publication.idempotency_key,
                publication.digest,
                published_at + publication.key_window * 1000,
                publication.outbox_id,
            )
        )
    places = sent.write(rows, published_at=published_at, before_commit=before_commit)
    records = []
    for index, row, place in zip(fresh, rows, places, strict=True):
        if place is None:
            assert row.outbox_id is not None
            outcomes[index] = CarriedBefore(row.outbox_id)
            continue
        publication = publications[index]
        offset, seq = place
        records.append(
            Record(
                row.partition,
                offset,
                row.id,
                row.topic,
                seq,
                published_at,
                publication.payload,
                publication.metadata,
                publication.expires_at,
                publication.urgent,
            )
        )
        outcomes[index] = Appended(row.id, row.topic, seq, row.partition, offset, published_at)
    return records
