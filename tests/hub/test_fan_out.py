"""Fan-out: how often a message is encoded and framed, and that all get the same bytes."""

import json
from typing import Any

import msgpack
import pytest
from structlog.testing import capture_logs

from notifications import metrics
from notifications.hub import Subscriber
from notifications.hub.buffer import Buffer
from notifications.hub.fan_out import fan_out
from notifications.log.records import Record
from notifications.protocol.codec import JSON, MSGPACK, Codec
from notifications.topics.handling import PLAIN
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
