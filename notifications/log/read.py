"""Read the log by position."""

from notifications.log.records import Record, is_urgent, to_ms
from notifications.models import Message, Partition

CHUNK = 500
"""Messages that one read brings at most."""


def read_heads() -> dict[int, int]:
    """Read the offset of the newest message of every partition."""
    return dict(Partition.objects.values_list("pk", "head"))


def read_after(partition: int, offset: int, *, limit: int = CHUNK) -> list[Record]:
    """Read the messages after an offset of a partition, oldest first."""
    rows = (
        Message.objects.filter(partition_id=partition, offset__gt=offset)
        .order_by("offset")
        .values_list(
            "offset",
            "id",
            "topic__name",
            "seq",
            "published_at",
            "payload",
            "metadata",
            "expires_at",
        )[:limit]
    )
    return [
        Record(
            partition,
            number,
            str(pk),
            topic,
            seq,
            to_ms(published_at),
            payload.encode(),
            metadata.encode(),
            to_ms(expires_at) if expires_at else 0,
            is_urgent(metadata.encode()),
        )
        for number, pk, topic, seq, published_at, payload, metadata, expires_at in rows
    ]
