"""What a replay needs to know of messages before it reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import BigIntegerField, Func, Q

from notifications.log.purge import first_id_at
from notifications.log.records import to_ms
from notifications.models import Message

HEADLINES = 5_000
"""Headlines that one read brings at most."""


_YOUNG = """
SELECT partition_id, MIN("offset"), COUNT(*) FROM (
    SELECT partition_id, "offset" FROM notifications_message WHERE id >= %s LIMIT %s
) AS young GROUP BY partition_id
"""


class Headline(NamedTuple):
    """What tells who wants a message, and what it takes to read it.

    Instants in milliseconds; size: bytes of payload and metadata.
    """

    topic_id: int
    offset: int
    topic: str
    published_at: int
    expires_at: int
    size: int


class Octets(Func):
    """The bytes of a text, which PostgreSQL knows without fetching it."""

    function = "OCTET_LENGTH"
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Count them as all versions of SQLite can."""
        template = "LENGTH(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **context)


def read_headlines(
    partition: int,
    after: int,
    through: int,
    *,
    topics: Sequence[int] | None = None,
    limit: int = HEADLINES,
) -> list[Headline]:
    """Read what tells who wants the messages of a partition after one offset through another.

    Of all topics they come in the order of offsets. Of some (ids of their rows) they come in the
    order of ids, then offsets, as the index has them: however many there are, nothing is sorted.
    """
    within = Q(offset__gt=after, offset__lte=through)
    rows = (
        Message.objects.filter(within, partition_id=partition).order_by("offset")
        if topics is None
        else Message.objects.filter(within, topic_id__in=topics).order_by("topic_id", "offset")
    )
    columns = rows.annotate(size=Octets("payload") + Octets("metadata")).values_list(
        "topic_id", "offset", "topic__name", "published_at", "expires_at", "size"
    )
    return [
        Headline(topic_id, offset, name, to_ms(published), to_ms(expires) if expires else 0, size)
        for topic_id, offset, name, published, expires, size in columns[:limit]
    ]


def first_since(published_at: int, *, limit: int) -> dict[int, int] | None:
    """Return, by partition, the lowest offset of what was published at an instant or later.

    published_at: milliseconds since 1970. None where that is more than `limit` messages.
    """
    # By the ids, which begin with that instant: offsets are in the order of commits.
    first = Message._meta.pk.get_db_prep_value(first_id_at(published_at), connection)
    with connection.cursor() as cursor:
        cursor.execute(_YOUNG, [first, limit + 1])
        rows = cursor.fetchall()
    if sum(count for _, _, count in rows) > limit:
        return None
    return {partition: offset for partition, offset, _ in rows}
