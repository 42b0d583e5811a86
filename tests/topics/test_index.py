"""The index: the same answers as the reference, nothing left behind, a bounded walk."""

from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from notifications.topics.grammar import MAX_SEGMENTS
from notifications.topics.index import TopicIndex
from notifications.topics.matching import matches
from tests.topics.alphabet import PATTERNS, TOPICS
from tests.topics.vectors import VECTORS


def index_of(*pairs: tuple[str, int]) -> TopicIndex[int]:
    index: TopicIndex[int] = TopicIndex()
    for pattern, subscriber in pairs:
        assert index.add(pattern, subscriber)
    return index


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [(row["pattern"], row["topic"], row["matches"]) for row in VECTORS["matches"]],
)
def test_matches_the_vectors(pattern: str, topic: str, expected: bool) -> None:
    assert list(index_of((pattern, 1)).match(topic)) == ([1] if expected else [])


def test_finds_what_the_reference_finds_among_all_patterns() -> None:
    index: TopicIndex[str] = TopicIndex()
    for pattern in PATTERNS:
        assert index.add(pattern, pattern)
    for topic in TOPICS:
        found = index.match(topic)
        assert sorted(found) == sorted(p for p in PATTERNS if matches(p, topic)), topic


def test_a_subscriber_under_several_patterns_appears_once() -> None:
    patterns = ["a.b", "a.*", "a.**", "*.b", "*.*", "*.**", "**"]
    index = index_of(*((pattern, 1) for pattern in patterns), ("a.*", 2))
    assert sorted(index.match("a.b")) == [1, 2]
    assert len(index) == 8


@pytest.mark.parametrize("pattern", ["a", "a.b", "*", "**", "a.*", "a.**", "a.*.b", "$sys.*"])
def test_add_and_remove_say_whether_they_changed_anything(pattern: str) -> None:
    index: TopicIndex[int] = TopicIndex()
    assert index.remove(pattern, 1) is False
    for subscriber in (1, 2, 3):
        assert index.add(pattern, subscriber) is True
        assert index.add(pattern, subscriber) is False
        assert len(index) == subscriber
    assert index.remove(pattern, 4) is False
    for left in (2, 1, 0):
        assert index.remove(pattern, left + 1) is True
        assert index.remove(pattern, left + 1) is False
        assert len(index) == left
    assert index.nodes == 0


@pytest.mark.parametrize(
    "absent", ["a", "b", "a.b.c.d", "a.*", "*", "a.b.**", "a.b.*", "a.*.c", "a.b.d.*", "$sys.*"]
)
def test_removing_what_is_absent_changes_nothing(absent: str) -> None:
    index = index_of(("a.b.c.*", 1), ("a.b.c", 1), ("*.**", 1), ("a.b.c.**", 1))
    before = index.nodes
    assert index.remove(absent, 1) is False
    assert (index.nodes, len(index)) == (before, 4)


def test_removal_prunes_up_to_what_others_still_use() -> None:
    index = index_of(("a.*", 1), ("a.*.b.*", 2), ("a.*.c.d.**", 3), ("x.y", 4))
    assert index.nodes == 2 + 2 + 2 + 1
    assert index.remove("a.*.c.d.**", 3)
    assert index.nodes == 2 + 2 + 1
    assert index.remove("a.*", 1)
    assert index.nodes == 2 + 2 + 1
    assert index.remove("x.y", 4)
    assert index.nodes == 2 + 2
    assert list(index.match("a.z.b.z")) == [2]
    assert index.remove("a.*.b.*", 2)
    assert index.nodes == 0


@pytest.mark.parametrize("pattern", ["a.b", "a.*", "a.**", "**"])
def test_builds_nothing_when_one_place_holds_all_subscribers(pattern: str) -> None:
    index = index_of((pattern, 1), (pattern, 2), ("a.c.*.**", 3), ("b", 3))
    assert set(index.match("a.b")) == {1, 2}
    assert index.match("a.b") is index.match("a.b")


def test_nobody_is_an_empty_collection() -> None:
    assert len(TopicIndex[int]().match("a")) == 0
    assert len(index_of(("a.b", 1), ("a.*.c", 1)).match("a")) == 0


class CountedSegment(str):
    """A segment that counts how often it is looked up."""

    looked_up = 0

    def __hash__(self) -> int:
        CountedSegment.looked_up += 1
        return super().__hash__()


class CountedTopic(str):
    """A topic whose segments count how often they are looked up."""

    def split(self, *args: object, **options: object) -> list[str]:
        return [CountedSegment(segment) for segment in str(self).split(".")]


@pytest.fixture(scope="module")
def crowded() -> TopicIndex[str]:
    """Return an index in which each node has a child for two letters and for `*`."""
    index: TopicIndex[str] = TopicIndex()
    for segments in product("ab*", repeat=MAX_SEGMENTS):
        index.add(".".join(segments), "anyone")
    for length in range(1, MAX_SEGMENTS):
        for segments in product("ab*", repeat=length):
            index.add(".".join((*segments, "**")), "anyone")
    return index


@pytest.mark.parametrize("depth", range(1, MAX_SEGMENTS + 1))
def test_the_walk_is_bounded_by_the_topic_alone(
    crowded: TopicIndex[str], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountedSegment, "looked_up", 0)
    crowded.match(CountedTopic(".".join("a" * depth)))
    # Above the last level each node is looked into once; the last level at most doubles that.
    # The lower bound fails when nothing is counted any more.
    assert depth <= CountedSegment.looked_up < 2**depth


class IndexAgainstReference(RuleBasedStateMachine):
    """Add, remove and match in any order; a list of pairs and the reference are the model."""

    patterns = st.sampled_from([pattern for pattern in PATTERNS if pattern.count(".") < 3])
    subscribers = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.index: TopicIndex[int] = TopicIndex()
        self.pairs: set[tuple[str, int]] = set()

    @rule(pattern=patterns, subscriber=subscribers)
    def add(self, pattern: str, subscriber: int) -> None:
        assert self.index.add(pattern, subscriber) is ((pattern, subscriber) not in self.pairs)
        self.pairs.add((pattern, subscriber))

    @rule(pattern=patterns, subscriber=subscribers)
    def remove_any(self, pattern: str, subscriber: int) -> None:
        assert self.index.remove(pattern, subscriber) is ((pattern, subscriber) in self.pairs)
        self.pairs.discard((pattern, subscriber))

    @rule(data=st.data())
    def remove_one_that_is_there(self, data: st.DataObject) -> None:
        if self.pairs:
            pair = data.draw(st.sampled_from(sorted(self.pairs)))
            assert self.index.remove(*pair) is True
            self.pairs.remove(pair)

    @rule(topic=st.sampled_from(TOPICS))
    def match(self, topic: str) -> None:
        expected = {subscriber for pattern, subscriber in self.pairs if matches(pattern, topic)}
        assert sorted(self.index.match(topic)) == sorted(expected)

    @invariant()
    def counts_its_pairs(self) -> None:
        assert len(self.index) == len(self.pairs)

    def teardown(self) -> None:
        for pair in sorted(self.pairs):
            assert self.index.remove(*pair) is True
        assert (len(self.index), self.index.nodes) == (0, 0)
        for topic in TOPICS:
            assert len(self.index.match(topic)) == 0


TestIndexAgainstReference = IndexAgainstReference.TestCase
TestIndexAgainstReference.settings = settings(
    deadline=None, max_examples=100, stateful_step_count=50
)
