"""Fan-out: how often a message is encoded and framed, and that all get the same bytes."""

import json
from typing import Any

import msgpack
import pytest
from structlog.testing import capture_logs

from notifications import metrics
from notifications.hub import Subscriber
from notifications.hub.buffer import Buffer
from notifications.hub.encoded import Encoded, encode_record
from notifications.hub.fan_out import fan_out
from notifications.log.records import Record
from notifications.protocol.codec import JSON, MSGPACK, Codec
from notifications.topics.handling import PLAIN, Handling, Overflow
from notifications.topics.index import TopicIndex
from tests.records import record

NOW = 1_700_000_000_000


def subscriber(codec: Codec) -> Subscriber:
    buffer = Buffer(10**6, wake=lambda within: None, overflow=lambda: None)
    return Subscriber(buffer, codec=codec)


def index_of(subscribers: list[Subscriber]) -> TopicIndex[Subscriber]:
    index: TopicIndex[Subscriber] = TopicIndex()
    for number, one in enumerate(subscribers):
        index.add(("a.b", "a.*", "**")[number % 3], one)
    return index


def counted() -> dict[str, tuple[float, float]]:
    """Return messages encoded and frames framed so far, by codec."""
    return {
        codec: (
            metrics.messages_encoded.labels(codec)._value.get(),
            metrics.frames_framed.labels(codec)._value.get(),
        )
        for codec in ("json", "msgpack")
    }


def grown(before: dict[str, tuple[float, float]]) -> dict[str, tuple[int, int]]:
    now = counted()
    return {
        codec: (int(now[codec][0] - before[codec][0]), int(now[codec][1] - before[codec][1]))
        for codec in before
    }


RECORDS = [record(offset, payload=b'{"n":1.50,"big":18446744073709551616}') for offset in (1, 2, 3)]


@pytest.mark.parametrize(("texts", "binaries"), [(30, 0), (0, 30), (30, 30), (1, 29)])
def test_once_per_codec_in_use_whoever_gets_it(texts: int, binaries: int) -> None:
    subscribers = [subscriber(JSON) for _ in range(texts)]
    # Between each other, so that the codec changes from one to the next.
    for number in range(binaries):
        subscribers.insert(min(2 * number, len(subscribers)), subscriber(MSGPACK))
    before = counted()
    fan_out(index_of(subscribers), RECORDS, now=NOW, handling_of=lambda topic: PLAIN)
    sent = [(one.codec, one.buffer.take(10**6)) for one in subscribers]
    assert grown(before) == {
        "json": (3, 3) if texts else (0, 0),
        "msgpack": (3, 3) if binaries else (0, 0),
    }
    for codec, count in ((JSON, texts), (MSGPACK, binaries)):
        frames = [taken for known, taken in sent if known is codec]
        assert len(frames) == count
        for number in range(3 if frames else 0):
            assert len({taken[number] for taken in frames}) == 1, "equal"
            assert len({id(taken[number]) for taken in frames}) == 1, "and one object"


def test_both_say_the_same() -> None:
    text, binary = subscriber(JSON), subscriber(MSGPACK)
    fan_out(index_of([text, binary]), RECORDS[:1], now=NOW, handling_of=lambda topic: PLAIN)
    (written,), (packed,) = text.buffer.take(10**6), binary.buffer.take(10**6)
    assert (written[:1], packed[:1]) == (b"\x81", b"\x82")
    said: Any = json.loads(written[2:] if written[1] < 126 else written[4:])
    meant: Any = msgpack.unpackb(packed[2:] if packed[1] < 126 else packed[4:])
    assert said["payload"].pop("big") == 2**64
    assert meant["payload"].pop("big") == 2.0**64
    assert said == meant


def test_who_is_fed_from_the_log_costs_no_encoding() -> None:
    fed = subscriber(MSGPACK)
    index = index_of([fed])
    fed.splice = object()  # type: ignore[assignment]
    before = counted()
    fan_out(index, RECORDS, now=NOW, handling_of=lambda topic: PLAIN)
    assert grown(before) == {"json": (0, 0), "msgpack": (0, 0)}
    assert len(fed.buffer) == 0


def test_what_one_codec_cannot_write_reaches_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**parts: Any) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(MSGPACK, "encode_message", fail)
    subscribers = [subscriber(JSON), subscriber(MSGPACK), subscriber(JSON), subscriber(MSGPACK)]
    records: list[Record] = RECORDS[:2]
    with capture_logs() as logs:
        fan_out(index_of(subscribers), records, now=NOW, handling_of=lambda topic: PLAIN)
    assert [len(one.buffer) for one in subscribers] == [2, 0, 2, 0]
    assert [line["message_id"] for line in logs] == [one.id for one in records], "once each"


def test_a_socket_that_fails_takes_nothing_from_the_others() -> None:
    def fail(data: bytes) -> None:
        raise RuntimeError("broken")

    lost: list[str] = []
    subscribers = [subscriber(JSON) for _ in range(3)]
    broken = subscribers[1]
    broken.buffer.direct = fail
    broken.lost = lambda: lost.append("lost")
    with capture_logs() as logs:
        fan_out(index_of(subscribers), RECORDS[:1], now=NOW, handling_of=lambda topic: PLAIN)
    assert (len(logs), lost) == (1, ["lost"])
    assert [len(one.buffer) for one in subscribers] == [1, 0, 1]
    assert broken.buffer.direct is None


def test_a_group_of_one_topic_is_written_in_one_piece() -> None:
    written: dict[str, list[bytes]] = {"one by one": [], "arrays": [], "binary": []}
    subscribers = [subscriber(JSON), subscriber(JSON), subscriber(MSGPACK)]
    for one, name in zip(subscribers, written, strict=True):
        one.buffer.direct = written[name].append
    subscribers[1].buffer.arrays = 2
    before = counted()
    fan_out(index_of(subscribers), RECORDS, now=NOW, handling_of=lambda topic: PLAIN)
    assert grown(before)["json"][0] == 3, "each encoded once, whatever form it goes out in"
    frames = [encode_record(one) for one in RECORDS]
    assert written["one by one"] == [b"".join([frame.framed for frame in frames])]
    pair = Encoded(JSON.join([frame.data for frame in frames[:2]]))
    assert written["arrays"] == [pair.framed + frames[2].framed]
    assert len(written["binary"]) == 1
    assert [one.delivered for one in subscribers] == [3, 3, 3]


def test_another_topic_an_expiry_or_an_ephemeral_message_ends_a_piece() -> None:
    written: list[bytes] = []
    one = subscriber(JSON)
    one.buffer.direct = written.append
    index: TopicIndex[Subscriber] = TopicIndex()
    index.add("**", one)
    rows = [
        record(1),
        record(2),
        record(3, topic="b"),
        record(4),
        record(5, expires_at=NOW + 1),
        record(6, expires_at=NOW),
        record(7),
        record(0),
        record(8),
    ]
    fan_out(index, rows, now=NOW, handling_of=lambda topic: PLAIN)
    assert [piece.count(b'"type":"message"') for piece in written] == [2, 1, 1, 1, 1, 1, 1]
    assert one.delivered == 8


@pytest.mark.parametrize(
    ("offset", "overflow", "gives_way"),
    [
        (0, Overflow.DROP_NEWEST, Overflow.DROP_NEWEST),
        (0, Overflow.DISCONNECT, None),
        (1, Overflow.DROP_NEWEST, None),
    ],
)
def test_what_gives_way(offset: int, overflow: Overflow, gives_way: Overflow | None) -> None:
    one = subscriber(JSON)
    rules = Handling(overflow=overflow)
    fan_out(index_of([one]), [record(offset)], now=NOW, handling_of=lambda topic: rules)
    frame = one.buffer.pop()
    assert frame is not None
    assert frame.overflow is gives_way
