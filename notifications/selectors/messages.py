"""Messages: the history of a topic."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from django.db.models import Q

from notifications.log.records import to_ms
from notifications.models import Message
from notifications.protocol.instants import format_instant
from notifications.protocol.limits import PAYLOAD_BYTES
from notifications.protocol.values import Record

PAGE_BYTES = 8 * 1024 * 1024
"""Payload bytes on a page: a thousand large messages would be 48 MiB."""

READ_AHEAD = PAGE_BYTES // PAYLOAD_BYTES
"""Rows that are fetched at a time, so that no more than a page's bytes are in memory twice."""


# A list, and not a tuple: generators of clients trip over the schema of tuples.
Position = Annotated[
    list[int], msgspec.Meta(min_length=2, max_length=2, description="[partition, offset]")
]
"""A message's place in the log, as JSON has it."""


class HistoryMessage(Record, frozen=True, kw_only=True):
    """A message as its frame has it, without `type`."""

    id: str
    topic: str
    payload: msgspec.Raw
    timestamp: str
    metadata: (
        Annotated[
            msgspec.Raw, msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Metadata"})
        ]
        | None
    ) = None
    seq: int
    position: Position


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message of a topic. payload, metadata: JSON text, metadata empty when there is none."""

    id: uuid.UUID
    seq: int
    partition: int
    offset: int
    published_at: datetime
    payload: str
    metadata: str


def list_messages(
    *,
    topic: str,
    after: int | None,
    before: int | None,
    limit: int,
    newest_first: bool,
    now: datetime,
) -> tuple[list[MessageRow], int | None]:
    """Return a page of a topic's messages that have not expired, and where the next one goes on.

    after, before: seq, exclusive. The next page's `after`, or newest first its `before`, is the
    second value, None at the end. A page is shorter than `limit` when it is full by PAGE_BYTES.
    One query.
    """
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    found = Message.objects.filter(unexpired, topic__name=topic)
    if after is not None:
        found = found.filter(seq__gt=after)
    if before is not None:
        found = found.filter(seq__lt=before)
    rows = found.order_by("-seq" if newest_first else "seq").values_list(
        "id", "seq", "partition_id", "offset", "published_at", "payload", "metadata"
    )[: limit + 1]
    page: list[MessageRow] = []
    size = 0
    for columns in rows.iterator(chunk_size=READ_AHEAD):
        row = MessageRow(*columns)
        size += len(row.payload)
        if page and (len(page) == limit or size > PAGE_BYTES):
            return page, page[-1].seq
        page.append(row)
    return page, None


def in_history(topic: str, row: MessageRow) -> HistoryMessage:
    """Return a message as every door shows the history: payload and metadata as they were sent."""
    return HistoryMessage(
        id=str(row.id),
        topic=topic,
        payload=msgspec.Raw(row.payload),
        timestamp=format_instant(to_ms(row.published_at)),
        metadata=msgspec.Raw(row.metadata) if row.metadata else None,
        seq=row.seq,
        position=[row.partition, row.offset],
    )
