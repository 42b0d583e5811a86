"""Who a message is for, in Python and in SQL, and what an acknowledged cursor covers."""

from typing import Any

import pytest

from notifications.log.audience import (
    Begins,
    Place,
    has_acknowledged,
    open_sessions,
    subscribes,
)
from notifications.models import Session, Subscription
from tests.selectors import rows

pytestmark = pytest.mark.django_db

PLACE = Place("a.b", 3, 10)

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("a.b", {"begin": {"3": 9}, "epoch": "now"}, True),
    ("a.b", {"begin": {"3": 10}, "epoch": "now"}, False),
    ("a.*", {"begin": {"3": 9}, "epoch": "now"}, True),
    ("a.**", {"begin": {"0": 99}, "epoch": "now"}, True),
    ("**", {"begin": {}, "epoch": "now"}, True),
    ("a.b", {"begin": {"3": 99}, "epoch": "before"}, True),
    ("a.b", {"begin": {"3": 99}, "epoch": ""}, True),
    ("a.c", {"begin": {}, "epoch": "now"}, False),
    ("a.b.*", {"begin": {}, "epoch": "now"}, False),
]


def held(pattern: str, client_id: str = "c", **fields: Any) -> None:
    row = rows.subscription("user:1", pattern, client_id)
    Subscription.objects.filter(pk=row.pk).update(**fields)


@pytest.mark.parametrize(("pattern", "fields", "is_wanted"), CASES)
def test_both_ways_say_the_same(pattern: str, fields: dict[str, Any], is_wanted: bool) -> None:
    session = rows.session("user:1")
    held(pattern, **fields)
    begins = Begins([PLACE], epoch="now")
    client = ("user:1", "c")
    assert begins.want(PLACE, client) == is_wanted
    assert (client in begins.wanted_by(PLACE)) == is_wanted
    by_query = Session.objects.filter(subscribes(PLACE, epoch="now"))
    assert (session in by_query) == is_wanted


def test_of_several_subscriptions_the_earliest_counts() -> None:
    rows.session("user:1")
    held("a.b", begin={"3": 50}, epoch="now")
    held("a.*", begin={"3": 5}, epoch="now")
    held("**", begin={"3": 60}, epoch="now")
    assert Begins([PLACE], epoch="now").want(PLACE, ("user:1", "c"))
    assert Session.objects.filter(subscribes(PLACE, epoch="now")).count() == 1


def test_what_another_client_holds_is_its_own() -> None:
    rows.session("user:1", "other")
    held("a.b", "c")
    begins = Begins([PLACE], epoch="now")
    assert not begins.want(PLACE, ("user:1", "other"))
    assert not Session.objects.filter(subscribes(PLACE, epoch="now")).exists()
    assert not Begins([PLACE], epoch="now", principals={"user:2"}).want(PLACE, ("user:1", "c"))


def test_many_topics_are_looked_up_in_steps() -> None:
    places = [Place(f"t{number}.x", 0, 1) for number in range(25)]
    held("t7.*")
    held("t24.x")
    begins = Begins(places, epoch="now")
    wanted = [place.topic for place in places if list(begins.wanted_by(place))]
    assert wanted == ["t7.x", "t24.x"]
    assert begins.clients() == {("user:1", "c")}


def test_open_sessions_are_found_by_pairs() -> None:
    mine = rows.session("user:1", "a")
    rows.session("user:1", "b")
    rows.session("user:2", "a")
    rows.session("user:2", "b", ended=True)
    asked = {("user:1", "a"), ("user:2", "b"), ("user:3", "c")}
    assert open_sessions(asked) == {("user:1", "a"): mine.pk}


@pytest.mark.parametrize(
    ("acked", "is_covered"),
    [
        ({}, False),
        ({"epoch": "now", "offsets": {"3": 10}}, True),
        ({"epoch": "now", "offsets": {"3": 9}}, False),
        ({"epoch": "now", "offsets": {"2": 10}}, False),
        ({"epoch": "before", "offsets": {"3": 10}}, False),
    ],
)
def test_a_cursor_covers_what_is_at_or_before_it(acked: dict[str, Any], is_covered: bool) -> None:
    assert has_acknowledged(acked, PLACE, epoch="now") == is_covered
