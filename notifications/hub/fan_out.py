"""Fan-out: each message matched once, encoded once per codec, given to everyone who wants it."""

from collections.abc import Sequence

import structlog

from notifications import metrics
from notifications.hub.encoded import Encoded, encode_record
from notifications.hub.subscriber import Subscriber
from notifications.log.records import Record
from notifications.protocol.codec import Codec
from notifications.topics.index import TopicIndex

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
        is_kept = record.offset > 0
        frames: dict[Codec, Encoded | None] = {}
        codec: Codec | None = None
        frame: Encoded | None = None
        for subscriber in subscribers:
            if is_kept and subscriber.splice is not None:
                continue  # the log brings it in its turn
            if subscriber.codec is not codec:
                codec = subscriber.codec
                if codec not in frames:
                    frames[codec] = _encode(record, codec)
                frame = frames[codec]
            if frame is not None:
                subscriber.give(frame)
                delivered += 1
    if delivered:
        metrics.messages_delivered.inc(delivered)


def _encode(record: Record, codec: Codec) -> Encoded | None:
    try:
        return encode_record(record, codec)
    except Exception:
        # The place has moved past it already; its neighbours must not be lost with it.
        logger.exception("a message cannot be encoded", message_id=record.id, codec=codec.name)
        return None
