"""Matching, covering and overlapping: by hand-written rows, then proved by enumeration."""

import re
from collections.abc import Callable

import pytest

from notifications.topics.matching import covers, matches, overlaps
from tests.topics.alphabet import PATTERNS, TOPICS
from tests.topics.vectors import VECTORS


def as_expression(pattern: str) -> re.Pattern[str]:
    """Write a pattern the way other people would; no wildcard takes a '$', hence not `$sys`."""
    one, more = r"[^.$]+", r"[^.$]+(?:\.[^.$]+)*"
    return re.compile(
        r"\.".join({"*": one, "**": more}.get(part, re.escape(part)) for part in pattern.split("."))
    )


MATCHED = {
    pattern: frozenset(filter(as_expression(pattern).fullmatch, TOPICS)) for pattern in PATTERNS
}
"""What each pattern of the small alphabet stands for, found without the code under test."""


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [(row["pattern"], row["topic"], row["matches"]) for row in VECTORS["matches"]],
)
def test_matches_the_vectors(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


@pytest.mark.parametrize(
    ("granted", "requested", "expected"),
    [(row["granted"], row["requested"], row["covers"]) for row in VECTORS["covers"]],
)
def test_covers_as_the_vectors_say(granted: str, requested: str, expected: bool) -> None:
    assert covers(granted, requested) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(row["left"], row["right"], row["overlaps"]) for row in VECTORS["overlaps"]],
)
def test_overlaps_as_the_vectors_say(left: str, right: str, expected: bool) -> None:
    assert overlaps(left, right) is expected
    assert overlaps(right, left) is expected


def test_matches_what_the_expression_matches() -> None:
    for pattern, matched in MATCHED.items():
        assert {topic for topic in TOPICS if matches(pattern, topic)} == matched, pattern


def test_covers_exactly_the_subsets() -> None:
    wrong = [
        (granted, requested)
        for granted in PATTERNS
        for requested in PATTERNS
        if covers(granted, requested) is not (MATCHED[requested] <= MATCHED[granted])
    ]
    assert wrong == []


def test_overlaps_exactly_where_a_topic_is_shared() -> None:
    wrong = [
        (left, right)
        for left in PATTERNS
        for right in PATTERNS
        if overlaps(left, right) is MATCHED[left].isdisjoint(MATCHED[right])
    ]
    assert wrong == []


@pytest.mark.parametrize("relation", [covers, overlaps])
def test_relates_a_topic_as_it_matches_it(relation: Callable[[str, str], bool]) -> None:
    wrong = [
        (pattern, topic)
        for pattern in PATTERNS
        for topic in TOPICS
        if relation(pattern, topic) is not matches(pattern, topic)
    ]
    assert wrong == []
