"""Fan-out: each message matched once, encoded once per codec, given to everyone who wants it.

What is published to a topic in one group is matched once and written in one go.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import structlog

from notifications import metrics
from notifications.hub.encoded import Encoded, arrays_of, encode_record, framed_array
from notifications.hub.subscriber import Subscriber
from notifications.log.records import Record
from notifications.protocol.codec import Codec
from notifications.topics.handling import Handling, Overflow
from notifications.topics.index import TopicIndex

RUN_BYTES = 65_536
"""Payload bytes that are written in one go at most."""

HandlingOf = Callable[[str], Handling]

logger = structlog.get_logger(__name__)


def fan_out(
    index: TopicIndex[Subscriber],
    records: Sequence[Record],
    *,
    now: int,
    handling_of: HandlingOf,
) -> None:
    """Deliver records, in their order, to the subscribers that the index knows.

    now: milliseconds since 1970; what has expired by then is left out.
    """
    delivered = 0
    for run in _runs(records):
        subscribers = index.match(run[0].topic)
        if not subscribers:
            continue
        if len(run) == 1 and 0 < run[0].expires_at <= now:
            metrics.messages_expired.inc()
            continue
        delivered += _give(subscribers, run, handling_of(run[0].topic))
    if delivered:
        metrics.messages_delivered.inc(delivered)


def _runs(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records where the topic changes; what may expire or be dropped is alone."""
    if len(records) == 1:
        yield records
        return
    start = size = 0
    for index, record in enumerate(records):
        if index > start and (
            record.topic != records[start].topic
            or size >= RUN_BYTES
            or not (_is_plain(record) and _is_plain(records[start]))
        ):
            yield records[start:index]
            start, size = index, 0
        size += len(record.payload)
    if records:
        yield records[start:]


def _is_plain(record: Record) -> bool:
    return record.offset > 0 and not record.expires_at


class _Run:
    """Messages of one topic in one codec, each encoded once."""

    __slots__ = ("_arrays", "frames", "urgent")

    def __init__(self, records: Sequence[Record], codec: Codec, overflow: Overflow | None) -> None:
        self.frames: list[Encoded] = []
        self.urgent: list[bool] = []
        for record in records:
            if (frame := _encode(record, codec, overflow)) is not None:
                self.frames.append(frame)
                self.urgent.append(record.urgent)
        self._arrays: dict[int, bytes] = {}

    def on_the_wire(self, arrays: int) -> bytes:
        """Return all of them as they are written, in arrays of at most so many."""
        if arrays not in self._arrays:
            parts = arrays_of(self.frames, arrays)
            self._arrays[arrays] = b"".join([framed_array(part) for part in parts])
        return self._arrays[arrays]


def _give(subscribers: Collection[Subscriber], records: Sequence[Record], rules: Handling) -> int:
    """Give messages of one topic to subscribers; return how many deliveries that were."""
    is_kept, topic = records[0].offset > 0, records[0].topic
    gives_way = not is_kept and rules.overflow is not Overflow.DISCONNECT
    overflow = rules.overflow if gives_way else None
    runs: dict[Codec, _Run] = {}
    codec: Codec | None = None
    delivered = 0
    for subscriber in subscribers:
        if is_kept and subscriber.splice is not None:
            continue  # the log brings it in its turn
        if subscriber.codec is not codec:
            codec = subscriber.codec
            if codec not in runs:
                runs[codec] = _Run(records, codec, overflow)
            run, lone = runs[codec], None
            count = len(run.frames)
        if not count:
            continue
        window = rules.window if subscriber.windows is None else subscriber.window(topic, rules)
        buffer = subscriber.buffer
        direct = buffer.direct
        try:
            if direct is not None and window is None:
                if count > 1:
                    direct(run.on_the_wire(buffer.arrays))
                else:
                    if lone is None:
                        lone = run.on_the_wire(1)
                    direct(lone)
                subscriber.delivered += count
            else:
                for frame, urgent in zip(run.frames, run.urgent, strict=True):
                    subscriber.give(frame, None if urgent else window)
        except Exception:
            # Whatever is wrong with its socket, the others must not miss their message for it.
            logger.exception("a connection cannot be written to; it has to resume")
            buffer.direct = None
            subscriber.lost()
        delivered += count
    return delivered


def _encode(record: Record, codec: Codec, overflow: Overflow | None) -> Encoded | None:
    try:
        return encode_record(record, codec, overflow=overflow)
    except Exception:
        # The place has moved past it already; its neighbours must not be lost with it.
        logger.exception("a message cannot be encoded", message_id=record.id, codec=codec.name)
        return None
