"""Messages: the history of a topic."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from notifications.models import Message
from notifications.protocol.limits import PAYLOAD_BYTES

PAGE_BYTES = 8 * 1024 * 1024
"""Payload bytes on a page: a thousand large messages would be 48 MiB."""

READ_AHEAD = PAGE_BYTES // PAYLOAD_BYTES
"""Rows that are fetched at a time, so that no more than a page's bytes are in memory twice."""


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
