"""Fan-out: each message matched once, encoded once, and given to everyone who wants it."""

from collections.abc import Sequence

import structlog

from notifications import metrics
from notifications.hub.encoded import Encoded
from notifications.hub.subscriber import Subscriber
from notifications.log.records import Record
from notifications.protocol.codec import JsonCodec
from notifications.topics.index import TopicIndex

_codec = JsonCodec()

logger = structlog.get_logger(__name__)


def fan_out(index: TopicIndex[Subscriber], records: Sequence[Record], *, now: int) -> None:
    """Deliver records, in their order, to the subscribers that the index knows.

    now: milliseconds since 1970; what has expired by then is left out.
    """
    delivered = 0
    for record in records:
        subscribers = index.match(record.topic)
        if not subscribers:
            continue
        if record.expires_at and record.expires_at <= now:
            metrics.messages_expired.inc()
            continue
        try:
            frame = Encoded(_encode(record))
        except Exception:
            # The place has moved past it already; its neighbours must not be lost with it.
            logger.exception("a message cannot be encoded", message_id=record.id)
            continue
        for subscriber in subscribers:
            subscriber.deliver(record.topic, frame)
        delivered += len(subscribers)
    if delivered:
        metrics.messages_delivered.inc(delivered)


def _encode(record: Record) -> bytes:
    return _codec.encode_message(
        message_id=record.id,
        topic=record.topic,
        payload=record.payload,
        timestamp=record.published_at,
        metadata=record.metadata or None,
        # Without an offset it is ephemeral, and has no place.
        seq=record.seq if record.offset else None,
        position=(record.partition, record.offset) if record.offset else None,
    )
