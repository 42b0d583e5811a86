"""Fan-out: each message matched once, encoded once per codec, given to everyone who wants it.

What is published to a topic in one group is matched once and written in one go.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import structlog

from notifications import metrics
from notifications.hub.content import Selection
from notifications.hub.encoded import Encoded, arrays_of, encode_record, framed_array
from notifications.hub.subscriber import Subscriber
from notifications.log.records import Record
from notifications.protocol.codec import Codec
from notifications.topics.filters import Filter
from notifications.topics.handling import Handling, Overflow, Window
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
    delivered = filtered = 0
    for run in _runs(records):
        subscribers = index.match(run[0].topic)
        if not subscribers:
            continue
        if len(run) == 1 and 0 < run[0].expires_at <= now:
            metrics.messages_expired.inc()
            continue
        rules = handling_of(run[0].topic)
        sharing = _Sharing(run, rules)
        delivered += _give(subscribers, sharing, rules)
        filtered += sharing.filtered
    if filtered:
        metrics.messages_filtered.inc(filtered)
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
    """Messages of one topic in one codec, each encoded once.

    places: which of all the messages they are; None for the first, the second and so on.
    """

    __slots__ = ("_arrays", "_places", "frames", "urgent")

    def __init__(
        self, frames: list[Encoded], urgent: list[bool], places: list[int] | None = None
    ) -> None:
        self.frames = frames
        self.urgent = urgent
        self._places = places
        self._arrays: dict[int, bytes] = {}

    def part(self, selected: int) -> "_Run":
        """Return those of them whose bits are set, by their places."""
        places = range(len(self.frames)) if self._places is None else self._places
        kept = [number for number, place in enumerate(places) if selected >> place & 1]
        return _Run([self.frames[one] for one in kept], [self.urgent[one] for one in kept])

    def on_the_wire(self, arrays: int) -> bytes:
        """Return all of them as they are written, in arrays of at most so many."""
        if arrays not in self._arrays:
            parts = arrays_of(self.frames, arrays)
            self._arrays[arrays] = b"".join([framed_array(part) for part in parts])
        return self._arrays[arrays]

    def wait_for(self, subscriber: Subscriber, window: Window | None) -> None:
        """Put them into a subscriber's buffer; window: how long they may wait for others."""
        for frame, urgent in zip(self.frames, self.urgent, strict=True):
            subscriber.give(frame, None if urgent else window)


class _Sharing:
    """Messages of one topic, and what their recipients share of them.

    filtered: how many messages were not given to somebody because of filters.
    """

    __slots__ = ("_overflow", "_parts", "_runs", "_selection", "filtered", "is_kept", "records")

    def __init__(self, records: Sequence[Record], rules: Handling) -> None:
        self.records = records
        self.is_kept = records[0].offset > 0
        gives_way = not self.is_kept and rules.overflow is not Overflow.DISCONNECT
        self._overflow = rules.overflow if gives_way else None
        self._runs: dict[Codec, _Run] = {}
        self._selection: Selection | None = None
        self._parts: dict[tuple[Codec, int], _Run] | None = None
        self.filtered = 0

    def run(self, codec: Codec) -> _Run:
        """Return all of them in a codec, without what cannot be encoded."""
        run = self._runs.get(codec)
        if run is None:
            frames: list[Encoded] = []
            urgent: list[bool] = []
            places: list[int] | None = None
            for place, record in enumerate(self.records):
                frame = _encode(record, codec, self._overflow)
                if frame is None:
                    places = list(range(len(frames))) if places is None else places
                    continue
                frames.append(frame)
                urgent.append(record.urgent)
                if places is not None:
                    places.append(place)
            run = self._runs[codec] = _Run(frames, urgent, places)
        return run

    def part(self, codec: Codec, filters: Collection[Filter]) -> _Run:
        """Return those of them that filters want; made once for all who want the same."""
        if self._selection is None or self._parts is None:
            self._selection, self._parts = Selection(self.records), {}
        selected = self._selection.of(filters)
        part = self._parts.get((codec, selected))
        if part is None:
            part = self._parts[codec, selected] = self.run(codec).part(selected)
        return part

    def give_part(
        self, subscriber: Subscriber, filters: Collection[Filter], window: Window | None
    ) -> int:
        """Give a subscriber what its filters want; return how many messages that were."""
        part = self.part(subscriber.codec, filters)
        count = len(part.frames)
        self.filtered += len(self.records) - count
        if not count:
            return 0
        direct = subscriber.buffer.direct
        try:
            if direct is not None and window is None:
                direct(part.on_the_wire(subscriber.buffer.arrays))
                subscriber.delivered += count
            else:
                part.wait_for(subscriber, window)
        except Exception:
            _has_failed(subscriber)
        return count


def _give(subscribers: Collection[Subscriber], sharing: _Sharing, rules: Handling) -> int:
    """Give messages of one topic to subscribers; return how many deliveries that were."""
    is_kept, topic = sharing.is_kept, sharing.records[0].topic
    codec: Codec | None = None
    delivered = 0
    for subscriber in subscribers:
        if is_kept and subscriber.splice is not None:
            continue  # the log brings it in its turn
        if subscriber.codec is not codec:
            codec = subscriber.codec
            run, lone = sharing.run(codec), None
            count = len(run.frames)
        if not count:
            continue
        window = rules.window
        if not subscriber.is_plain:
            window = subscriber.window(topic, rules)
            if (filters := subscriber.filters(topic)) is not None:
                delivered += sharing.give_part(subscriber, filters, window)
                continue
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
                run.wait_for(subscriber, window)
        except Exception:
            _has_failed(subscriber)
        delivered += count
    return delivered


def _has_failed(subscriber: Subscriber) -> None:
    # Whatever is wrong with its socket, the others must not miss their message for it.
    logger.exception("a connection cannot be written to; it has to resume")
    subscriber.buffer.direct = None
    subscriber.lost()


def _encode(record: Record, codec: Codec, overflow: Overflow | None) -> Encoded | None:
    try:
        return encode_record(record, codec, overflow=overflow)
    except Exception:
        # The place has moved past it already; its neighbours must not be lost with it.
        logger.exception("a message cannot be encoded", message_id=record.id, codec=codec.name)
        return None
