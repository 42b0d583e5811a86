"""What filters make of messages: each message is read once, and each filter asked once."""

import json
from collections.abc import Collection, Sequence

import msgspec

from notifications.log.records import Record
from notifications.topics.filters import ABSENT, Filter

_UNREAD = object()
_MANY_DIGITS = 4_000
"""More than about so many Python does not turn into an integer."""
_decoder = msgspec.json.Decoder()


class Content:
    """A message as filters see it; payload and metadata are read when a filter first asks."""

    __slots__ = ("_metadata", "_payload", "_record")

    def __init__(self, record: Record) -> None:
        self._record = record
        self._payload: object = _UNREAD
        self._metadata: object = _UNREAD

    @property
    def payload(self) -> object:
        """Return the publisher's value."""
        if self._payload is _UNREAD:
            self._payload = _read(self._record.payload)
        return self._payload

    @property
    def metadata(self) -> object:
        """Return the publisher's metadata, ABSENT where there is none."""
        if self._metadata is _UNREAD:
            self._metadata = _read(self._record.metadata)
        return self._metadata

    @property
    def topic(self) -> object:
        """Return the topic's name."""
        return self._record.topic


class Selection:
    """Which of some messages filters want, as a number with a bit for each of them.

    It lives for one turn of the event loop, so that what was read is let go.
    """

    __slots__ = ("_contents", "_found")

    def __init__(self, records: Sequence[Record]) -> None:
        self._contents = [Content(record) for record in records]
        self._found: dict[Filter, int] = {}

    def of(self, filters: Collection[Filter]) -> int:
        """Return what at least one of the filters wants."""
        wanted = 0
        for one in filters:
            found = self._found.get(one)
            if found is None:
                bits = [one(content) << place for place, content in enumerate(self._contents)]
                found = self._found[one] = sum(bits)
            wanted |= found
        return wanted


def _read(text: bytes) -> object:
    if not text:
        return ABSENT
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        # JSON all the same, as it was checked when it was published: with half a surrogate pair, or
        # a number beyond what a double holds.
        return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _MANY_DIGITS else float(digits)
