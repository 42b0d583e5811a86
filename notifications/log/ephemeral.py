"""Messages of ephemeral topics: relayed to whoever is there, and not kept.

They have no place in the log: their offset and their seq are 0.
"""

from collections.abc import Sequence

from notifications import metrics
from notifications.log.records import (
    Appended,
    Publication,
    Record,
    new_message_ids,
    now_ms,
)


def make_ephemeral(publications: Sequence[Publication]) -> tuple[list[Appended], list[Record]]:
    """Give publications an id and an instant; return their outcomes and their records."""
    instant = now_ms()
    records = [
        Record(
            publication.partition,
            0,
            message_id,
            publication.topic,
            0,
            instant,
            publication.payload,
            publication.metadata,
            publication.expires_at,
            publication.urgent,
        )
        for publication, message_id in zip(
            publications, new_message_ids(instant, len(publications)), strict=True
        )
    ]
    metrics.messages_ephemeral.inc(len(records))
    return [
        Appended(record.id, record.topic, 0, record.partition, 0, instant) for record in records
    ], records
