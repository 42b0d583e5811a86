import re

import pytest

from notifications.log.patterns import expression, patterns_matching, topics_matching
from notifications.models import Topic
from notifications.topics.matching import matches
from tests.selectors import rows
from tests.topics.alphabet import PATTERNS, TOPICS

SHORT_TOPICS = [topic for topic in TOPICS if topic.count(".") <= 2]
SHORT_PATTERNS = [pattern for pattern in PATTERNS if pattern.count(".") <= 2]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_expression_says_what_matching_says(pattern: str) -> None:
    compiled = re.compile(expression(pattern))
    for topic in TOPICS:
        assert bool(compiled.search(topic)) == matches(pattern, topic), topic


@pytest.mark.parametrize("pattern", ["a-b.c_d.*", "a-b.c_d", "$sys.*"])
def test_characters_that_mean_something_in_an_expression_are_literal(pattern: str) -> None:
    topic = pattern.replace("*", "x")
    assert re.search(expression(pattern), topic)
    for other in (topic.replace(".", "x"), topic.replace("_", "x"), topic.replace("-", "x")):
        assert bool(re.search(expression(pattern), other)) == (other == topic)


@pytest.mark.parametrize("topic", SHORT_TOPICS)
def test_the_patterns_of_a_topic_are_those_that_match_it(topic: str) -> None:
    found = patterns_matching(topic)
    assert len(found) == len(set(found))
    assert {pattern for pattern in PATTERNS if matches(pattern, topic)} <= set(found)
    assert all(matches(pattern, topic) for pattern in found)


def test_the_deepest_topic_has_511_patterns() -> None:
    assert len(patterns_matching("a.b.c.d.e.f.g.h")) == 511


@pytest.mark.django_db
def test_the_database_agrees() -> None:
    for name in SHORT_TOPICS:
        rows.topic(name)
    for pattern in SHORT_PATTERNS:
        found = Topic.objects.filter(topics_matching([pattern], field="name"))
        wanted = {topic for topic in SHORT_TOPICS if matches(pattern, topic)}
        assert set(found.values_list("name", flat=True)) == wanted, pattern


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], set()),
        (["a.b"], {"a.b"}),
        (["a.*"], {"a.b", "a.c"}),
        (["a.b", "x.**"], {"a.b", "x.y.z"}),
        (["A.*"], {"A.b"}),
        (["a_.*"], {"a_.b"}),
    ],
)
def test_any_of_several_patterns(patterns: list[str], found: set[str]) -> None:
    for name in ("a.b", "a.c", "A.b", "a_.b", "ab.b", "x.y.z", "x"):
        rows.topic(name)
    names = Topic.objects.filter(topics_matching(patterns, field="name"))
    assert set(names.values_list("name", flat=True)) == found
