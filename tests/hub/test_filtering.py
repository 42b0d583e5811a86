"""Filters: what a connection is spared live, in replays and when something is given once more."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from notifications import metrics
from notifications.hub import Subscriber, content
from notifications.hub import replay as replay_module
from notifications.hub import survey as survey_module
from notifications.hub.buffer import Buffer
from notifications.hub.fan_out import fan_out
from notifications.hub.giving import Giver
from notifications.hub.pages import Kept
from notifications.hub.subscriber import Wish
from notifications.hub.wanted import Caps
from notifications.protocol.codec import JSON, MSGPACK, Codec
from notifications.recovery.cursor import Unrecovered
from notifications.recovery.splice import Splice
from notifications.topics.filters import parse_filter
from notifications.topics.handling import PLAIN, Handling, Window, window_of
from notifications.topics.index import TopicIndex
from tests.hub.test_replay import COUNT, USER_1, ZERO, Log, Peer, place
from tests.records import record

NOW = 1_700_000_000_000
EVEN = {"in": ["payload.n", [2, 4, 6, 8]]}
FROM_5 = {"gte": ["payload.n", 5]}
NONE = {"eq": ["topic", "another"]}


class Reader:
    """A connection that keeps what it is given."""

    def __init__(
        self, *trees: Any, codec: Codec = JSON, direct: bool = False, window: Window | None = None
    ) -> None:
        self.written: list[bytes] = []
        self.woken: list[float] = []
        self.lost = 0
        self.buffer = Buffer(10**6, wake=self.woken.append, overflow=lambda: None)
        self.subscriber = Subscriber(self.buffer, codec=codec, lost=self._lose)
        if direct:
            self.buffer.direct = self.written.append
        for number, tree in enumerate(trees):
            pattern = ("a.b", "a.*", "**")[number]
            chosen = parse_filter(tree) if tree is not None else None
            self.subscriber.wishes[pattern] = Wish(pattern, filter=chosen, window=window)
        self.subscriber.changed()

    def _lose(self) -> None:
        self.lost += 1

    def numbers(self) -> list[int]:
        assert self.subscriber.codec is JSON
        frames = [json.loads(frame.data) for frame in iter(self.buffer.pop, None)]
        return [frame["payload"]["n"] for frame in frames]


def deliver(*readers: Reader, records: Any = None, rules: Handling = PLAIN) -> None:
    index: TopicIndex[Subscriber] = TopicIndex()
    for reader in readers:
        for pattern in reader.subscriber.wishes:
            index.add(pattern, reader.subscriber)
    some = [record(n) for n in range(1, 9)] if records is None else records
    fan_out(index, some, now=NOW, handling_of=lambda topic: rules)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What filters have had read."""
    texts: list[bytes] = []

    class Counting:
        def decode(self, text: bytes) -> Any:
            texts.append(text)
            return json.loads(text)

    monkeypatch.setattr(content, "_decoder", Counting())
    return texts


# --- Live ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trees", "expected"),
    [
        ([EVEN], [2, 4, 6, 8]),
        ([EVEN, FROM_5], [2, 4, 5, 6, 7, 8]),
        ([EVEN, None], [1, 2, 3, 4, 5, 6, 7, 8]),
        ([NONE], []),
        ([NONE, EVEN, NONE], [2, 4, 6, 8]),
        ([None], [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_filters_of_matching_subscriptions_are_joined_by_or(
    trees: list[Any], expected: list[int]
) -> None:
    reader = Reader(*trees)
    before = metrics.messages_filtered._value.get()
    deliver(reader)
    assert reader.subscriber.delivered == len(expected)
    assert metrics.messages_filtered._value.get() - before == 8 - len(expected)
    assert reader.numbers() == expected


def test_a_subscription_of_another_topic_wants_nothing_of_this_one() -> None:
    reader = Reader(EVEN)
    reader.subscriber.wishes["other.topic"] = Wish("other")
    reader.subscriber.changed()
    deliver(reader)
    assert reader.numbers() == [2, 4, 6, 8]


def test_each_message_is_read_once_however_many_filter(decoded: list[bytes]) -> None:
    readers = [Reader(tree, codec=codec) for tree in (EVEN, FROM_5) for codec in (JSON, MSGPACK)]
    deliver(*readers, *[Reader(EVEN) for _ in range(10)], Reader())
    assert len(decoded) == 8


def test_nothing_is_read_where_nobody_filters_or_the_topic_says_all(decoded: list[bytes]) -> None:
    deliver(Reader(None), Reader(NONE), Reader(None, codec=MSGPACK))
    assert decoded == []


def test_who_wants_the_same_shares_the_bytes() -> None:
    one, two, all_ = (Reader(tree, direct=True) for tree in (EVEN, EVEN, None))
    late = Reader({"or": [EVEN, NONE]}, direct=True)
    deliver(one, all_, two, late)
    assert one.written[0] is two.written[0] is late.written[0]
    assert one.subscriber.delivered == 4
    assert len(one.written) == 1, "all of it in one go"
    assert len(all_.written[0]) > len(one.written[0])


def test_who_wants_nothing_is_not_written_to() -> None:
    reader = Reader(NONE, direct=True)
    deliver(reader)
    assert (reader.written, reader.subscriber.delivered) == ([], 0)


def test_what_passes_waits_as_its_windows_say() -> None:
    own = Reader(EVEN, direct=True, window=window_of(10, 500))
    policy = Reader(EVEN, direct=True)
    deliver(own, policy, rules=Handling(window=window_of(10, 200)))
    assert (own.woken, policy.woken) == ([0.5] * 4, [0.2] * 4)
    assert own.numbers() == [2, 4, 6, 8]


def test_ephemeral_messages_are_filtered_too() -> None:
    reader = Reader(EVEN)
    deliver(reader, records=[record(0, payload=b'{"n":%d}' % n) for n in (1, 2)])
    assert reader.numbers() == [2]


def test_beside_a_message_that_cannot_be_encoded_the_others_keep_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = JSON.encode_message

    def fails(**fields: Any) -> bytes:
        if fields["message_id"] == "id-0-3":
            raise ValueError("a defect")
        return write(**fields)

    monkeypatch.setattr(JSON, "encode_message", fails)
    reader = Reader({"gte": ["payload.n", 3]})
    with capture_logs():
        deliver(reader)
    assert reader.numbers() == [4, 5, 6, 7, 8]


def test_a_socket_that_fails_takes_nothing_from_the_others() -> None:
    broken, fine = Reader(EVEN), Reader(EVEN)

    def fail(data: bytes) -> None:
        raise ValueError("a defect")

    broken.buffer.direct = fail
    with capture_logs():
        deliver(broken, fine)
    assert (broken.lost, fine.numbers()) == (1, [2, 4, 6, 8])


@pytest.mark.parametrize("payload", [b"1e999", b'"\\ud800"', b"9" * 5_000])
def test_numbers_and_text_beyond_what_is_usual_pass_or_not_like_others(payload: bytes) -> None:
    readers = [Reader(tree) for tree in ({"gt": ["payload", 5]}, NONE, {"exists": "payload"})]
    deliver(*readers, records=[record(1, payload=payload)])
    counts = [reader.subscriber.delivered for reader in readers]
    assert counts == [payload[:1] != b'"', 0, 1]


def test_metadata_may_be_absent() -> None:
    reader = Reader({"eq": ["metadata.source", "shop"]})
    with_source = record(2, metadata=b'{"source":"shop"}')
    deliver(reader, records=[record(1), with_source])
    assert reader.numbers() == [2]


def test_what_a_connection_wants_may_change() -> None:
    reader = Reader(EVEN)
    deliver(reader)
    reader.subscriber.wishes["a.b"] = Wish("a.b", filter=parse_filter(FROM_5))
    reader.subscriber.changed()
    deliver(reader)
    assert reader.numbers() == [2, 4, 6, 8, 5, 6, 7, 8]


# --- From the log -------------------------------------------------------------------------------


@pytest.fixture(params=["shared", "alone"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Log:
    if request.param == "alone":
        for module in (replay_module, survey_module):
            monkeypatch.setattr(module, "SHARED_SPAN", -1)
    return Log()


def filtering(tree: Any, *more: str) -> Peer:
    peer = Peer(*more)
    peer.want("user.1.*", filter=parse_filter(tree))
    return peer


B = {"eq": ["payload", "user.1.b"]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("cap", [10, 10_000])
async def test_a_replay_brings_and_counts_what_passes(log: Log, cap: int) -> None:
    await log.publish(*["user.1.a", "user.1.b", "user.1.c", "user.1.a"] * 5)
    peer = filtering(B)
    assert await log.replay(peer, caps=Caps(cap), after=ZERO) == (None, 5)
    assert peer.take() == ["user.1.b"] * 5
    both = filtering(B, "user.1.c")
    assert await log.replay(both, caps=Caps(cap)) == (None, 10)


@pytest.mark.django_db(transaction=True)
async def test_more_than_the_cap_that_passes_is_too_many(log: Log) -> None:
    await log.publish(*["user.1.a", "user.1.b"] * 6)
    assert await log.replay(filtering(B), caps=Caps(5)) == (Unrecovered.TOO_MANY, 0)
    assert await log.replay(filtering(B), caps=Caps(6)) == (None, 6)


@pytest.mark.django_db(transaction=True)
async def test_what_is_read_to_find_that_out_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (replay_module, survey_module):
        monkeypatch.setattr(module, "SHARED_SPAN", -1)
    monkeypatch.setattr(survey_module, "FILTERED_BYTES", 50)
    log = Log()
    await log.publish(*["user.1.a"] * 6)
    assert await log.replay(filtering(NONE), caps=Caps(5)) == (Unrecovered.TOO_MANY, 0)
    monkeypatch.setattr(survey_module, "FILTERED_BYTES", 100)
    assert await log.replay(filtering(NONE), caps=Caps(5)) == (None, 0)


@pytest.mark.django_db(transaction=True)
async def test_catching_up_passes_what_does_not_pass(log: Log) -> None:
    await log.publish(*["user.1.a", "user.1.b", "user.1.a"])
    peer = filtering(B)
    peer.subscriber.detached = 1
    peer.subscriber.splice = splice = Splice(ZERO, [USER_1])
    await log.feeder.catch_up(peer.subscriber, lambda: log.heads)
    assert peer.take() == ["user.1.b"]
    assert splice.place == place(3)


async def test_what_is_given_once_more_has_to_pass() -> None:
    payloads = [b'"user.1.a"', b'"user.1.b"']
    messages = [Kept(record(n, topic="user.1.a", payload=one)) for n, one in enumerate(payloads)]
    peer = filtering(B)
    assert await Giver(lambda: (10,) * COUNT).give(peer.subscriber, messages) == 1
    assert peer.take() == ["user.1.b"]
