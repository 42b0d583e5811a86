"""Find the newest messages that match a pattern: where `since: {"last": n}` begins.

Of some topics that is read by the index on topics and offsets, from its end, in two steps: the
newest message of each; then, of those topics whose newest message is one of the newest n, the
newest n. So what is read is bounded by the topics and by n, not by what they have.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from django.db import connection
from django.db.models import Q

from notifications.log.patterns import topics_matching
from notifications.log.read import find_topics
from notifications.log.records import now_ms, to_datetime
from notifications.models import Message

_OF_TOPICS: Final = {
    "postgresql": """
WITH fresh AS (
    SELECT topic.id FROM unnest(%(topics)s::bigint[]) AS topic (id) CROSS JOIN LATERAL (
        SELECT "offset" FROM notifications_message
        WHERE topic_id = topic.id AND "offset" <= %(through)s
            AND (expires_at IS NULL OR expires_at > %(now)s)
        ORDER BY "offset" DESC LIMIT 1
    ) AS newest ORDER BY newest."offset" DESC LIMIT %(count)s
)
SELECT found.published_at, found.id, found."offset" FROM fresh CROSS JOIN LATERAL (
    SELECT published_at, id, "offset" FROM notifications_message
    WHERE topic_id = fresh.id AND "offset" <= %(through)s
        AND (expires_at IS NULL OR expires_at > %(now)s)
    ORDER BY "offset" DESC LIMIT %(count)s
) AS found ORDER BY found."offset" DESC LIMIT %(count)s
""",
    # SQLite has no LATERAL: the place of the last of n is asked for instead, in the same index.
    "sqlite": """
WITH newest (id, "offset") AS (
    SELECT topic.value, (
        SELECT "offset" FROM notifications_message
        WHERE topic_id = topic.value AND "offset" <= %(through)s
            AND (expires_at IS NULL OR expires_at > %(now)s)
        ORDER BY "offset" DESC LIMIT 1
    ) FROM json_each(%(topics)s) AS topic
),
fresh (id, first) AS (
    SELECT newest.id, coalesce((
        SELECT "offset" FROM notifications_message
        WHERE topic_id = newest.id AND "offset" <= %(through)s
            AND (expires_at IS NULL OR expires_at > %(now)s)
        ORDER BY "offset" DESC LIMIT 1 OFFSET %(count)s - 1
    ), 0)
    FROM newest WHERE newest."offset" IS NOT NULL
    ORDER BY newest."offset" DESC LIMIT %(count)s
)
SELECT published_at, notifications_message.id, "offset"
FROM fresh CROSS JOIN notifications_message
    ON topic_id = fresh.id AND "offset" BETWEEN fresh.first AND %(through)s
        AND (expires_at IS NULL OR expires_at > %(now)s)
ORDER BY "offset" DESC LIMIT %(count)s
""",
}


def read_newest(
    pattern: str, partitions: Sequence[int], through: Sequence[int], count: int
) -> dict[int, int]:
    """Return, by partition, the place before the newest messages that match a pattern.

    partitions: those that can hold such messages. through: by partition; later messages do not
    count, nor do expired ones. After these places there are `count` messages, or all there are;
    of several partitions those published last.
    """
    if count == 0:
        return {}
    candidates: list[tuple[tuple[Any, Any], int, int]] = []
    for partition in partitions:
        age: tuple[Any, Any] | None = None
        for published_at, pk, offset in _newest(pattern, partition, through[partition], count):
            # Clocks of hosts differ, and what is taken of a partition has to be its end.
            age = (published_at, pk) if age is None else min(age, (published_at, pk))
            candidates.append((age, partition, offset))
    chosen = sorted(candidates, reverse=True)[:count]
    places: dict[int, int] = {}
    for _, partition, offset in chosen:
        places[partition] = min(places.get(partition, offset), offset)
    return {partition: offset - 1 for partition, offset in places.items()}


def _newest(
    pattern: str, partition: int, through: int, count: int
) -> Sequence[tuple[Any, Any, int]]:
    """Return instants, ids and offsets in a partition, the newest first.

    Instants and ids are as the database compares them, and good for nothing else.
    """
    now = to_datetime(now_ms())
    topics = find_topics(partition, [pattern])
    if topics is None:
        # Of many topics backwards through the partition.
        rows = Message.objects.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            topics_matching([pattern], field="topic__name"),
            partition_id=partition,
            offset__lte=through,
        )
        found = rows.order_by("-offset").values_list("published_at", "pk", "offset")[:count]
        id_of = Message._meta.pk.get_db_prep_value
        at_of = connection.ops.adapt_datetimefield_value
        return [(at_of(at), id_of(pk, connection), offset) for at, pk, offset in found]
    values = {
        "topics": json.dumps(topics) if connection.vendor == "sqlite" else topics,
        "through": through,
        "now": connection.ops.adapt_datetimefield_value(now),
        "count": count,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OF_TOPICS[connection.vendor], values)
        return [(at, pk, offset) for at, pk, offset in cursor.fetchall()]
