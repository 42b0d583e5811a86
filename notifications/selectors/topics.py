"""Topics: which there are, and how many subscriptions each has now."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db.models import Count

from notifications.log.patterns import patterns_matching, topics_matching
from notifications.models import Topic
from notifications.selectors.subscriptions import connected_subscriptions

PAGE = 100
"""Topics on a page."""

PATTERNS_AT_ONCE = 10_000
"""Patterns in one query: below SQLite's bound of 32,766 variables. A page of 100 topics of three
segments needs 1,500 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow:
    """A topic that was published to.

    seq: how many messages it ever had.
    subscribers: subscriptions, of clients that are connected now, whose pattern matches it.
    """

    name: str
    seq: int
    subscribers: int


def list_topics(
    *,
    readable: Sequence[str] | None,
    pattern: str | None = None,
    after: str | None = None,
    limit: int = PAGE,
) -> tuple[list[TopicRow], str | None]:
    """Return a page of topics in the database's order of names, and the next page's `after`.

    readable: the patterns that the reader was granted; None for all topics.
    pattern, after: parsed, or None. Two queries; more only for very deep names.
    """
    topics = Topic.objects.order_by("name")
    if readable is not None:
        topics = topics.filter(topics_matching(readable, field="name"))
    if pattern is not None:
        topics = topics.filter(topics_matching([pattern], field="name"))
    if after is not None:
        topics = topics.filter(name__gt=after)
    found = list(topics.values_list("name", "seq")[: limit + 1])
    page = found[:limit]
    counts = count_subscriptions(topics=[name for name, _ in page])
    rows = [TopicRow(name=name, seq=seq, subscribers=counts[name]) for name, seq in page]
    return rows, page[-1][0] if len(found) > limit else None


def find_topic(*, name: str) -> TopicRow | None:
    """Return a topic, or None when nothing was ever published to it. Two queries."""
    seq = Topic.objects.filter(name=name).values_list("seq", flat=True).first()
    if seq is None:
        return None
    return TopicRow(name=name, seq=seq, subscribers=count_subscriptions(topics=[name])[name])


def count_subscriptions(*, topics: Sequence[str]) -> Counter[str]:
    """Count, for each topic, the matching subscriptions of clients that are connected now."""
    topics_of: dict[str, list[str]] = {}
    for topic in topics:
        for pattern in patterns_matching(topic):
            topics_of.setdefault(pattern, []).append(topic)
    counts: Counter[str] = Counter()
    for patterns in _chunks(topics_of, PATTERNS_AT_ONCE):
        held = (
            connected_subscriptions()
            .filter(pattern__in=patterns)
            .order_by()
            .values_list("pattern")
            .annotate(Count("pk"))
        )
        for pattern, count in held:
            for topic in topics_of[pattern]:
                counts[topic] += count
    return counts


def _chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
