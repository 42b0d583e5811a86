"""The grammar: what is accepted, and that each refusal explains itself."""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.errors import BadTopic
from notifications.topics.grammar import (
    MAX_BYTES,
    MAX_SEGMENT,
    MAX_SEGMENTS,
    is_pattern,
    is_reserved,
    parse_pattern,
    parse_topic,
)
from tests.topics.alphabet import PATTERNS, TOPICS
from tests.topics.vectors import VECTORS

PARSERS = {"topics": parse_topic, "patterns": parse_pattern}
VALID = [(kind, row["text"]) for kind in PARSERS for row in VECTORS[kind]["valid"]]
INVALID = [
    (kind, row["text"], row["code"], row["mistake"])
    for kind in PARSERS
    for row in VECTORS[kind]["invalid"]
]
# What a message says about each kind of mistake: that it is this one, and what to do.
EXPLANATIONS = {
    "not-a-string": ("must be a string, not", "send text such as"),
    "empty": ("is empty", "name at least one segment"),
    "too-long": ("characters long", "shorten it to 255 bytes"),
    "too-many-segments": ("segments", "use at most 8"),
    "bad-character": ("Character", "use only A-Z, a-z, 0-9, '_' and '-'"),
    "empty-segment": ("is empty", "remove the extra one"),
    "segment-too-long": ("characters long", "shorten it to 64"),
    "dollar": ("contains '$'", "rename the segment"),
    "wildcard-in-topic": ("contains a wildcard", "name one topic in full"),
    "partial-wildcard": ("mixes '*' with other characters", "alone between the dots"),
    "wildcard-not-last": ("may only be the last", "use '*' for each segment before it"),
}
EXACT = [
    (
        parse_topic,
        None,
        "A topic must be a string, not NoneType: send text such as 'user.123.orders'.",
    ),
    (parse_pattern, "", "The pattern is empty: name at least one segment, such as 'user.123.*'."),
    (parse_topic, "a" * 300, "The topic is 300 characters long: shorten it to 255 bytes."),
    (parse_topic, "a.b.c.d.e.f.g.h.i", "The topic has 9 segments: use at most 8."),
    (
        parse_topic,
        "user/123",
        "Character 5 of the topic is '/' (U+002F): use only A-Z, a-z, 0-9, '_' and '-', and '.' "
        "between segments.",
    ),
    (
        parse_pattern,
        "user.*.\u200b",
        "Character 8 of the pattern is '\\u200b' (U+200B): use only A-Z, a-z, 0-9, '_' and '-', "
        "and '.' between segments.",
    ),
    (
        parse_topic,
        "a..b",
        "Segment 2 of the topic is empty: no '.' may begin it, end it or follow another; remove "
        "the extra one.",
    ),
    (
        parse_pattern,
        "a.*." + "b" * 65,
        "Segment 3 of the pattern is 65 characters long: shorten it to 64.",
    ),
    (
        parse_topic,
        "user.$sys",
        "Segment 2 of the topic contains '$', which is reserved: only the first segment may be "
        "'$sys', and none may contain it otherwise; rename the segment.",
    ),
    (
        parse_topic,
        "user.*",
        "Segment 2 of the topic contains a wildcard: name one topic in full; only subscriptions "
        "and grants take patterns.",
    ),
    (
        parse_pattern,
        "user.a*",
        "Segment 2 of the pattern mixes '*' with other characters: a wildcard stands for whole "
        "segments; use '*' or '**' alone between the dots.",
    ),
    (
        parse_pattern,
        "user.**.a",
        "Segment 2 of the pattern is '**', which may only be the last: use '*' for each segment "
        "before it.",
    ),
]


@pytest.mark.parametrize(("kind", "text"), VALID)
def test_accepts_what_the_vectors_call_valid(kind: str, text: str) -> None:
    assert PARSERS[kind](text) == text


@pytest.mark.parametrize(("kind", "text", "code", "mistake"), INVALID)
def test_refuses_what_the_vectors_call_invalid(
    kind: str, text: Any, code: str, mistake: str
) -> None:
    with pytest.raises(BadTopic) as caught:
        PARSERS[kind](text)
    assert caught.value.code == code
    for part in EXPLANATIONS[mistake]:
        assert part in caught.value.message


@pytest.mark.parametrize(("parse", "text", "message"), EXACT)
def test_the_message_names_the_mistake_its_place_and_the_remedy(
    parse: Any, text: Any, message: str
) -> None:
    with pytest.raises(BadTopic) as caught:
        parse(text)
    assert caught.value.message == message


def test_the_vectors_hold_every_kind_of_mistake() -> None:
    assert {mistake for *_, mistake in INVALID} == set(EXPLANATIONS)


@pytest.mark.parametrize("parse", PARSERS.values())
@pytest.mark.parametrize("text", ["\ud800", "a\x1b[31m", "\U0001f514", "a\r\nb", b"a", "a" * 10**6])
def test_a_message_about_hostile_text_is_short_plain_ascii(parse: Any, text: Any) -> None:
    with pytest.raises(BadTopic) as caught:
        parse(text)
    message = caught.value.message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 250


def test_the_small_alphabets_are_well_formed() -> None:
    assert [parse_topic(topic) for topic in TOPICS] == TOPICS
    assert [parse_pattern(pattern) for pattern in PATTERNS] == PATTERNS
    assert len(set(PATTERNS)) == len(PATTERNS) == 213
    assert len(set(TOPICS)) == len(TOPICS) == 484


NAMES = set(string.ascii_letters + string.digits + "_-")


def is_name(segment: str) -> bool:
    return 0 < len(segment) <= MAX_SEGMENT and set(segment) <= NAMES


def obeys(text: str, *, wildcards: bool) -> bool:
    """Decide by the words of the protocol, without an expression."""
    first, *rest = segments = text.split(".")
    if len(segments) > MAX_SEGMENTS or len(text.encode()) > MAX_BYTES:
        return False
    if wildcards:
        *before, last = segments
        first, *rest = ["x" if segment == "*" else segment for segment in before] + [
            "x" if last in ("*", "**") else last
        ]
    return (first == "$sys" or is_name(first)) and all(map(is_name, rest))


def accepts(parse: Any, text: str) -> bool:
    try:
        return bool(parse(text) == text)
    except BadTopic:
        return False


LENGTHS = ["x" * length for length in (31, 60, MAX_SEGMENT, MAX_SEGMENT + 1)]
LEGAL = ["a", "Z9", "-", "_"]
SPECIAL = ["*", "**", "***", "a*", "$sys", "$", "$sysa"]
STRAY = ["", " ", "\n", "é", "٣"]
segments = st.sampled_from(LEGAL) | st.sampled_from(LENGTHS + LEGAL + SPECIAL + STRAY)
texts = st.lists(segments, min_size=1, max_size=10).map(".".join) | st.text(
    "ab*.$sy-\n", max_size=8
)


@settings(deadline=None, max_examples=500)
@given(texts)
def test_accepts_exactly_what_the_words_of_the_protocol_allow(text: str) -> None:
    assert accepts(parse_topic, text) == obeys(text, wildcards=False)
    assert accepts(parse_pattern, text) == obeys(text, wildcards=True)


@pytest.mark.parametrize("row", VECTORS["patterns"]["valid"], ids=lambda row: row["text"])
def test_a_topic_is_a_pattern_without_a_wildcard(row: dict[str, str]) -> None:
    assert is_pattern(row["text"]) != accepts(parse_topic, row["text"])


@pytest.mark.parametrize(
    ("text", "reserved"),
    [
        ("$sys", True),
        ("$sys.health", True),
        ("$sys.**", True),
        ("sys", False),
        ("user.123", False),
        ("**", False),
        ("*.health", False),
    ],
)
def test_what_begins_with_sys_is_reserved(text: str, reserved: bool) -> None:
    assert is_reserved(parse_pattern(text)) is reserved
