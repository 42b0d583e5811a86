import uuid
from datetime import timedelta
from typing import Any

import pytest

from notifications.models import Server, Session
from notifications.selectors.sessions import find_session, list_sessions
from tests.selectors import rows

pytestmark = pytest.mark.django_db


def clients(**arguments: Any) -> list[str]:
    found, _ = list_sessions(**({"owner": None} | arguments))
    return [row.session.client_id for row in found]


@pytest.fixture
def population() -> None:
    server = Server.objects.create(id="s1", host="h", pid=1, started_at=rows.NOW, seen_at=rows.NOW)
    ann, bob = rows.user("ann"), rows.user("bob")
    rows.session(f"user:{ann.pk}", "ann-1", user=ann, server=server, since=rows.NOW)
    rows.session(
        f"user:{ann.pk}",
        "ann-2",
        user=ann,
        state=Session.State.RECONNECTING,
        since=rows.NOW - timedelta(seconds=1),
    )
    rows.session(
        f"user:{bob.pk}", "bob-1", user=bob, ended=True, since=rows.NOW - timedelta(seconds=2)
    )
    rows.session("key:abc", "key-1", server=server, since=rows.NOW - timedelta(seconds=3))


@pytest.mark.usefixtures("population")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, ["ann-1", "ann-2", "bob-1", "key-1"]),
        ({"user": "ann"}, ["ann-1", "ann-2"]),
        ({"user": "key:abc"}, ["key-1"]),
        ({"user": "nobody"}, []),
        ({"state": "connected"}, ["ann-1", "key-1"]),
        ({"state": "disconnected"}, ["bob-1"]),
        ({"server": "s1"}, ["ann-1", "key-1"]),
        ({"server": "s1", "user": "ann", "state": "connected"}, ["ann-1"]),
        ({"owner": "key:abc"}, ["key-1"]),
        ({"owner": "key:abc", "user": "ann"}, []),
        ({"owner": "key:ab"}, []),
    ],
)
def test_filters(arguments: dict[str, Any], found: list[str]) -> None:
    assert clients(**arguments) == found


@pytest.mark.usefixtures("population")
def test_users_have_names_and_keys_their_principal() -> None:
    found, _ = list_sessions(owner=None)
    assert [row.user for row in found] == ["ann", "ann", "bob", "key:abc"]


def test_pages_follow_each_other_also_where_instants_are_equal() -> None:
    wanted = {
        rows.session("user:1", f"c{number}", since=rows.NOW - timedelta(seconds=number // 3)).pk
        for number in range(10)
    }
    seen: list[uuid.UUID] = []
    after = None
    while True:
        page, after = list_sessions(owner=None, after=after, limit=4)
        seen += [row.session.pk for row in page]
        if after is None:
            break
    assert len(seen) == 10
    assert set(seen) == wanted


def test_a_full_last_page_has_no_next() -> None:
    for number in range(4):
        rows.session("user:1", f"c{number}")
    page, following = list_sessions(owner=None, limit=4)
    assert len(page) == 4
    assert following is None


def test_subscriptions_are_those_of_this_client_and_of_an_open_session() -> None:
    open_one = rows.session("user:1", "x")
    rows.session("user:2", "y")
    ended = rows.session("user:1", "z", ended=True)
    for principal, client_id in [
        ("user:1", "x"),
        ("user:1", "y"),
        ("user:1", "z"),
        ("user:2", "y"),
    ]:
        rows.subscription(principal, f"{principal[5:]}.{client_id}", client_id)
    found, _ = list_sessions(owner="user:1")
    held = {row.session.pk: [one.pattern for one in row.subscriptions] for row in found}
    assert held == {open_one.pk: ["1.x"], ended.pk: []}


def test_a_page_takes_two_queries(django_assert_num_queries: Any) -> None:
    for number in range(100):
        user = rows.user(f"u{number}")
        rows.session(f"user:{user.pk}", user=user)
        rows.subscription(f"user:{user.pk}", "a.b")
    with django_assert_num_queries(2):
        page, _ = list_sessions(owner=None)
    assert all(len(row.subscriptions) == 1 for row in page)


def test_find_session(django_assert_num_queries: Any) -> None:
    session = rows.session("user:1")
    rows.subscription("user:1", "a.b")
    with django_assert_num_queries(2):
        found = find_session(handle=session.pk, owner="user:1")
    assert found is not None
    assert [one.pattern for one in found.subscriptions] == ["a.b"]
    assert find_session(handle=session.pk, owner="user:2") is None
    assert find_session(handle=uuid.uuid4(), owner=None) is None
