"""Records and publications for tests."""

from typing import Any

import msgspec

from notifications.log.records import Publication, Record
from notifications.topics.partitions import partition_of


def record(offset: int, *, partition: int = 0, topic: str = "a.b", **more: Any) -> Record:
    """Make a record at an offset."""
    fields: dict[str, Any] = {
        "partition": partition,
        "offset": offset,
        "id": f"id-{partition}-{offset}",
        "topic": topic,
        "seq": offset,
        "published_at": 1_700_000_000_000 + offset,
        "payload": b'{"n":%d}' % offset,
        "metadata": b"",
        "expires_at": 0,
        "urgent": False,
    }
    return Record(**(fields | more))


def publication(
    topic: str, payload: Any = None, *, partitions: int = 16, **more: Any
) -> Publication:
    """Make a publication."""
    return Publication(
        topic=topic,
        partition=partition_of(topic, partitions),
        payload=msgspec.json.encode(payload),
        **more,
    )
