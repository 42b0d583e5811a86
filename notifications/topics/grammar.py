"""The grammar of topics and patterns (section 1 of docs/protocol.md).

::

    topic    =  ( "$sys" / segment ) *7( "." segment )              at most 255 bytes
    pattern  =  a topic in which a whole segment may be "*", and the last may be "**"
    segment  =  1*64( A-Z / a-z / 0-9 / "_" / "-" )

Everything else in this room takes text that was parsed here and does not check it again.
"""

import re

from notifications.errors import BadTopic

MAX_SEGMENTS = 8
MAX_SEGMENT = 64
"""Characters in one segment; each is one byte."""
MAX_BYTES = 255

SYSTEM = "$sys"
"""The first segment of the server's own topics."""
ONE = "*"
"""As a segment of a pattern: exactly one segment, whatever it is."""
MANY = "**"
"""As the last segment of a pattern: one or more segments, whatever they are."""

_CHARACTERS = "A-Za-z0-9_-"
_SEGMENT = rf"[{_CHARACTERS}]{{1,{MAX_SEGMENT}}}"
_FIRST = rf"(?:{re.escape(SYSTEM)}|{_SEGMENT})"

_is_topic = re.compile(rf"{_FIRST}(?:\.{_SEGMENT}){{0,{MAX_SEGMENTS - 1}}}").fullmatch
_is_topic_or_pattern = re.compile(
    rf"\*\*|(?:\*|{_FIRST})(?:\.(?:\*|{_SEGMENT})){{0,{MAX_SEGMENTS - 2}}}"
    rf"(?:\.(?:\*\*?|{_SEGMENT}))?"
).fullmatch
# The characters that have a meaning are left to the complaint about their meaning.
_stray_character = re.compile(rf"[^.*${_CHARACTERS}]").search

_EXAMPLES = {"topic": "user.123.orders", "pattern": "user.123.*"}


def parse_topic(text: object) -> str:
    """Return the text if it is a topic.

    text: any decoded value; what a peer sent needs no check before.
    Raises BadTopic, whose message names the first mistake and its place.
    """
    # Legal characters are ASCII, so for what the expression accepts, length is bytes. The
    # comparison comes first: it keeps the expression off oversized input.
    if isinstance(text, str) and len(text) <= MAX_BYTES and _is_topic(text):
        return text
    raise BadTopic(_complaint(text, "topic"))


def parse_pattern(text: object) -> str:
    """Return the text if it is a pattern; every topic is one too.

    text: any decoded value; what a peer sent needs no check before.
    Raises BadTopic, whose message names the first mistake and its place.
    """
    if isinstance(text, str) and len(text) <= MAX_BYTES and _is_topic_or_pattern(text):
        return text
    raise BadTopic(_complaint(text, "pattern"))


def is_pattern(text: str) -> bool:
    """Tell whether parsed text has a wildcard, so that it may match more than one topic."""
    return "*" in text


def is_reserved(text: str) -> bool:
    """Tell whether a parsed topic or pattern is the server's own: its first segment is `$sys`.

    Publishing to it is forbidden, and subscribing needs the admin scope; who asks must see to it.
    """
    # The grammar lets no other text begin with this character.
    return text.startswith("$")


def _complaint(text: object, kind: str) -> str:
    """Say what is wrong with text that was refused, and what to do about it."""
    if not isinstance(text, str):
        got = type(text).__name__
        return f"A {kind} must be a string, not {got}: send text such as {_EXAMPLES[kind]!r}."
    if not text:
        return f"The {kind} is empty: name at least one segment, such as {_EXAMPLES[kind]!r}."
    if len(text) > MAX_BYTES:
        return f"The {kind} is {len(text)} characters long: shorten it to {MAX_BYTES} bytes."
    segments = text.split(".")
    if len(segments) > MAX_SEGMENTS:
        return f"The {kind} has {len(segments)} segments: use at most {MAX_SEGMENTS}."
    stray = _stray_character(text)
    if stray:
        character = stray.group()
        return (
            f"Character {stray.start() + 1} of the {kind} is {character!a} "
            f"(U+{ord(character):04X}): use only A-Z, a-z, 0-9, '_' and '-', and '.' between "
            "segments."
        )
    last = len(segments)
    complaints = (
        _segment_complaint(segment, kind, place, last)
        for place, segment in enumerate(segments, start=1)
    )
    return next(complaint for complaint in complaints if complaint)


def _segment_complaint(segment: str, kind: str, place: int, last: int) -> str | None:
    """Say what is wrong with one segment, the place-th of last; None when nothing is."""
    if not segment:
        return (
            f"Segment {place} of the {kind} is empty: no '.' may begin it, end it or follow "
            "another; remove the extra one."
        )
    if "*" in segment:
        return _wildcard_complaint(segment, kind, place, last)
    if "$" in segment and not (segment == SYSTEM and place == 1):
        return (
            f"Segment {place} of the {kind} contains '$', which is reserved: only the first "
            f"segment may be {SYSTEM!r}, and none may contain it otherwise; rename the segment."
        )
    if len(segment) > MAX_SEGMENT:
        return (
            f"Segment {place} of the {kind} is {len(segment)} characters long: shorten it to "
            f"{MAX_SEGMENT}."
        )
    return None


def _wildcard_complaint(segment: str, kind: str, place: int, last: int) -> str | None:
    if kind == "topic":
        return (
            f"Segment {place} of the topic contains a wildcard: name one topic in full; only "
            "subscriptions and grants take patterns."
        )
    if segment not in (ONE, MANY):
        return (
            f"Segment {place} of the pattern mixes '*' with other characters: a wildcard stands "
            "for whole segments; use '*' or '**' alone between the dots."
        )
    if segment == MANY and place != last:
        return (
            f"Segment {place} of the pattern is '**', which may only be the last: use '*' for "
            "each segment before it."
        )
    return None
