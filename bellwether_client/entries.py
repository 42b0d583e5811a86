"""Finds who wants a message: topics by name, patterns one by one (a client has few)."""

from collections.abc import Sequence

from bellwether_client.entry import Entry
from bellwether_client.topics import is_pattern, matches, split


class Entries:
    """The entries of a client, by their topic or pattern."""

    def __init__(self) -> None:
        self._by_topic: dict[str, Entry] = {}
        self._patterns: list[Entry] = []

    def __getitem__(self, topic: str) -> Entry:
        """Return the one of a topic, which must be there."""
        return self._by_topic[topic]

    def get(self, topic: str) -> Entry | None:
        """Return the one of a topic."""
        return self._by_topic.get(topic)

    def all(self) -> list[Entry]:
        """Return all of them."""
        return list(self._by_topic.values())

    def add(self, entry: Entry) -> None:
        """Take one."""
        self._by_topic[entry.topic] = entry
        if is_pattern(entry.topic):
            self._patterns.append(entry)

    def remove(self, entry: Entry) -> None:
        """Let one go; one that is not there does nothing."""
        if self._by_topic.get(entry.topic) is entry:
            del self._by_topic[entry.topic]
            self._patterns = [one for one in self._patterns if one is not entry]

    def matching(self, topic: str) -> Sequence[Entry]:
        """Return who wants a message of a topic."""
        exact = self._by_topic.get(topic)
        found = [] if exact is None else [exact]
        if self._patterns:
            segments = split(topic)
            found.extend(one for one in self._patterns if matches(one.segments, segments))
        return found
