"""Grammar and matching of topics and patterns: section 1 of docs/protocol.md. Pure."""

import re
from collections.abc import Sequence
from typing import Literal

Mistake = Literal[
    "not-a-string",
    "empty",
    "too-long",
    "too-many-segments",
    "bad-character",
    "empty-segment",
    "segment-too-long",
    "wildcard-in-topic",
    "wildcard-not-last",
    "partial-wildcard",
    "dollar",
]

Segments = Sequence[str]
"""A topic or pattern cut at its dots."""

_SYSTEM = "$sys"
_MAX_SEGMENTS = 8
_MAX_SEGMENT = 64
_MAX_BYTES = 255
# With what a mistake may be made of.
_alphabet = re.compile(r"[A-Za-z0-9_.$*-]*").fullmatch

_TEXTS: dict[Mistake, str] = {
    "not-a-string": "A topic is a text.",
    "empty": "Write a topic, such as user.1.orders.",
    "too-long": f"A topic has at most {_MAX_BYTES} characters.",
    "too-many-segments": f"A topic has at most {_MAX_SEGMENTS} segments.",
    "bad-character": "A topic is made of letters, digits, _ and -, with dots between segments.",
    "empty-segment": "A segment is empty: write something before and after each dot.",
    "segment-too-long": f"A segment has at most {_MAX_SEGMENT} characters.",
    "wildcard-in-topic": "Wildcards are for subscriptions: name one topic.",
    "wildcard-not-last": "** can only be the last segment.",
    "partial-wildcard": "A wildcard stands for a whole segment, as in user.*.orders.",
    "dollar": "Only $sys, as the first segment, may have a $.",
}


def topic_problem(topic: object) -> str | None:
    """Say what is wrong with a topic, for a person; None when nothing is."""
    mistake = topic_mistake(topic)
    return None if mistake is None else _TEXTS[mistake]


def pattern_problem(pattern: object) -> str | None:
    """Say what is wrong with a topic or pattern, for a person; None when nothing is."""
    mistake = pattern_mistake(pattern)
    return None if mistake is None else _TEXTS[mistake]


def topic_mistake(topic: object) -> Mistake | None:
    """Name the first mistake in a topic."""
    return _mistake_in(topic, wildcards=False)


def pattern_mistake(pattern: object) -> Mistake | None:
    """Name the first mistake in a topic or pattern."""
    return _mistake_in(pattern, wildcards=True)


def split(topic: str) -> Segments:
    """Cut a topic or pattern at its dots."""
    return topic.split(".")


def is_pattern(topic: str) -> bool:
    """Tell whether a (valid) topic or pattern has a wildcard."""
    return "*" in topic


def matches(pattern: Segments, topic: Segments) -> bool:
    """Tell whether a pattern matches a topic; both are valid and already split."""
    last = len(pattern) - 1
    deep = pattern[last] == "**"
    if (len(topic) <= last) if deep else (len(topic) != len(pattern)):
        return False
    if topic[0] == _SYSTEM and pattern[0] != _SYSTEM:
        return False
    compared = last if deep else last + 1
    return all(pattern[i] in ("*", topic[i]) for i in range(compared))


def _mistake_in(text: object, *, wildcards: bool) -> Mistake | None:
    if not isinstance(text, str):
        return "not-a-string"
    segments = split(text)
    rules: list[tuple[Mistake, bool]] = [
        ("empty", text == ""),
        ("too-long", len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES),
        ("too-many-segments", len(segments) > _MAX_SEGMENTS),
        ("bad-character", not _alphabet(text)),
    ]
    for mistake, is_made in rules:
        if is_made:
            return mistake
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        found = _mistake_in_segment(
            segment, is_first=index == 0, is_last=index == last, wildcards=wildcards
        )
        if found is not None:
            return found
    return None


def _mistake_in_segment(
    segment: str, *, is_first: bool, is_last: bool, wildcards: bool
) -> Mistake | None:
    if segment == "":
        return "empty-segment"
    if len(segment) > _MAX_SEGMENT:
        return "segment-too-long"
    if "*" in segment:
        return _mistake_in_wildcard(segment, is_last=is_last) if wildcards else "wildcard-in-topic"
    if "$" in segment and not (is_first and segment == _SYSTEM):
        return "dollar"
    return None


def _mistake_in_wildcard(segment: str, *, is_last: bool) -> Mistake | None:
    if segment == "**":
        return None if is_last else "wildcard-not-last"
    return None if segment == "*" else "partial-wildcard"
