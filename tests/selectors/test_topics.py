from typing import Any

import pytest

from notifications.models import Session
from notifications.selectors.topics import count_subscriptions, find_topic, list_topics
from notifications.topics.matching import matches
from tests.selectors import rows

pytestmark = pytest.mark.django_db


def names(**arguments: Any) -> list[str]:
    found, _ = list_topics(**({"readable": None} | arguments))
    return [row.name for row in found]


def test_pages_follow_each_other_without_holes_or_repeats() -> None:
    wanted = [f"t.{number:03}" for number in range(25)]
    for name in wanted:
        rows.topic(name)
        rows.topic(f"{name}.other")
    seen: list[str] = []
    after = None
    while True:
        page, after = list_topics(readable=["t.*"], after=after, limit=10)
        seen += [row.name for row in page]
        if after is None:
            break
        assert len(page) == 10
        assert after == page[-1].name
    assert sorted(seen) == wanted
    assert len(seen) == len(set(seen))


def test_a_full_last_page_has_no_next() -> None:
    for number in range(10):
        rows.topic(f"t.{number}")
    page, following = list_topics(readable=None, limit=10)
    assert len(page) == 10
    assert following is None


@pytest.mark.parametrize(
    ("readable", "pattern", "found"),
    [
        (None, None, ["a.b", "a.b.c", "b.b"]),
        ([], None, []),
        (["a.**"], None, ["a.b", "a.b.c"]),
        (["a.**"], "*.b", ["a.b"]),
        (["a.b", "b.*"], None, ["a.b", "b.b"]),
        (["b.*"], "a.**", []),
    ],
)
def test_only_what_is_readable_and_asked_for(
    readable: list[str] | None, pattern: str | None, found: list[str]
) -> None:
    for name in ("a.b", "a.b.c", "b.b"):
        rows.topic(name)
    assert sorted(names(readable=readable, pattern=pattern)) == found


def test_subscriptions_of_connected_clients_are_counted() -> None:
    rows.session("user:1")
    rows.session("user:1", "other")
    rows.session("user:2", state=Session.State.RECONNECTING)
    rows.session("user:3", ended=True)
    for principal, pattern in [
        ("user:1", "a.b"),
        ("user:1", "a.*"),
        ("user:1", "**"),
        ("user:1", "b.*"),
        ("user:2", "a.b"),
        ("user:3", "a.b"),
        ("user:4", "a.b"),
    ]:
        rows.subscription(principal, pattern)
    rows.subscription("user:1", "a.b", "other")
    assert count_subscriptions(topics=["a.b", "b.c", "c"]) == {"a.b": 4, "b.c": 2, "c": 1}


def test_counts_agree_with_matching() -> None:
    patterns = ["a.b", "a.*", "a.**", "*.b", "**", "$sys.*", "a.*.c"]
    topics = ["a.b", "a.b.c", "c.b", "$sys.x", "a"]
    rows.session("user:1")
    for pattern in patterns:
        rows.subscription("user:1", pattern)
    counts = count_subscriptions(topics=topics)
    for topic in topics:
        assert counts[topic] == sum(matches(pattern, topic) for pattern in patterns), topic


def test_a_page_takes_two_queries(django_assert_num_queries: Any) -> None:
    for number in range(100):
        rows.topic(f"a.b.{number}")
        rows.subscription("user:1", f"a.b.{number}")
    with django_assert_num_queries(2):
        page, _ = list_topics(readable=["a.**"], pattern="a.b.*")
    assert len(page) == 100


def test_the_deepest_names_take_a_few_queries_more(django_assert_num_queries: Any) -> None:
    topics = [".".join(f"{letter}{number}" for letter in "abcdefgh") for number in range(100)]
    rows.session("user:1")
    rows.subscription("user:1", "**")
    with django_assert_num_queries(6):
        counts = count_subscriptions(topics=topics)
    assert [counts[topic] for topic in topics] == [1] * 100


def test_find_topic(django_assert_num_queries: Any) -> None:
    rows.topic("a.b", seq=7)
    with django_assert_num_queries(2):
        found = find_topic(name="a.b")
    assert found is not None
    assert (found.name, found.seq, found.subscribers) == ("a.b", 7, 0)
    assert find_topic(name="a.c") is None
