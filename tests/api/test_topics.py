from typing import Any

import pytest

from notifications.models import TopicPolicy
from notifications.selectors import topics as selector
from notifications.services.policies import policies
from tests.api.conftest import Api, holder
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


def topics(api: Api, **query: Any) -> list[str]:
    answer = api.get("topics", **query)
    assert answer.status_code == 200, answer.content
    return [topic["topic"] for topic in answer.json()["topics"]]


@pytest.fixture
def names(transactional_db: None) -> None:
    for name in ("a.b", "a.c", "a.b.c", "b.b"):
        rows.topic(name)


@pytest.mark.usefixtures("names")
def test_everybody_sees_what_they_may_read(api: Api, admin: Api) -> None:
    assert topics(api) == ["a.b", "a.b.c", "a.c"]
    assert topics(admin) == ["a.b", "a.b.c", "a.c", "b.b"]
    assert topics(holder("none")) == []
    assert topics(holder("narrow", "a.*", "b.*")) == ["a.b", "a.c", "b.b"]


@pytest.mark.usefixtures("names")
def test_a_pattern_narrows_and_never_widens(api: Api) -> None:
    assert topics(api, pattern="*.b") == ["a.b"]
    assert topics(api, pattern="**") == ["a.b", "a.b.c", "a.c"]
    assert topics(api, pattern="b.b") == []


def test_pages(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selector.PAGE == 100
    for number in range(205):
        rows.topic(f"t.{number:03}")
    seen: list[str] = []
    query: dict[str, str] = {}
    sizes = []
    while True:
        page = admin.get("topics", **query).json()
        sizes.append(len(page["topics"]))
        seen += [topic["topic"] for topic in page["topics"]]
        if page["next"] is None:
            break
        query = {"after": page["next"]}
    assert sizes == [100, 100, 5]
    assert seen == [f"t.{number:03}" for number in range(205)]


def test_what_is_said_of_a_topic(api: Api) -> None:
    TopicPolicy.objects.create(pattern="a.*", ttl=60)
    policies.refresh(max_age=0)
    rows.topic("a.b", seq=7)
    rows.topic("a.b.c", seq=2)
    rows.session("user:1")
    rows.subscription("user:1", "a.*")
    rows.subscription("user:2", "a.*")
    described = {
        "topic": "a.b",
        "seq": 7,
        "subscribers": 1,
        "policy": {"pattern": "a.*", "ttl": 60_000},
    }
    assert api.get("topics/a.b").json() == described
    assert api.get("topics").json()["topics"] == [
        described,
        {"topic": "a.b.c", "seq": 2, "subscribers": 0, "policy": None},
    ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("topics/a.unknown", 404, "UNKNOWN_TOPIC"),
        ("topics/b.unknown", 403, "FORBIDDEN"),
        ("topics/b.b", 403, "FORBIDDEN"),
        ("topics/$sys.x", 403, "FORBIDDEN"),
        ("topics/a.*", 400, "BAD_TOPIC"),
        ("topics/a..b", 400, "BAD_TOPIC"),
        ("topics/a%00", 400, "BAD_TOPIC"),
        ("topics/b.unknown/messages", 403, "FORBIDDEN"),
        ("topics/b.b/messages", 403, "FORBIDDEN"),
        ("topics/a.*/messages", 400, "BAD_TOPIC"),
        ("topics/a.b/messages?limit=1001", 400, "BAD_FRAME"),
        ("topics/a.b/messages?after=x", 400, "BAD_FRAME"),
        ("topics?pattern=a..b", 400, "BAD_TOPIC"),
        ("topics?pattern=%00", 400, "BAD_FRAME"),
        ("topics?after=*", 400, "BAD_TOPIC"),
    ],
)
@pytest.mark.usefixtures("names")
def test_refusals(api: Api, path: str, status: int, code: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_absent_and_forbidden_are_answered_alike(api: Api) -> None:
    rows.topic("b.b")
    there, absent = api.get("topics/b.b"), api.get("topics/b.c")
    assert there.json()["detail"].replace("b.b", "b.c") == absent.json()["detail"]


def test_the_history_of_an_unknown_topic_is_empty(api: Api) -> None:
    assert api.get("topics/a.unknown/messages").json() == {"messages": [], "next": None}


def test_history_has_message_frames_without_a_type(api: Api) -> None:
    placed = api.publish("a.b", {"x": 1.5}, metadata={"source": "s"}).json()
    api.publish("a.b", 2)
    [first, second] = api.get("topics/a.b/messages").json()["messages"]
    assert first == placed | {"payload": {"x": 1.5}, "metadata": {"source": "s"}}
    assert set(second) == {"id", "topic", "payload", "timestamp", "seq", "position"}


def test_history_in_pages_both_ways(api: Api) -> None:
    api.post("publish/batch", {"messages": [{"topic": "a.b", "payload": n} for n in range(1, 8)]})

    def walk(cursor: str, **query: Any) -> list[list[int]]:
        pages = []
        while True:
            page = api.get("topics/a.b/messages", limit=3, **query).json()
            pages.append([message["seq"] for message in page["messages"]])
            if page["next"] is None:
                return pages
            query[cursor] = page["next"]

    assert walk("after") == [[1, 2, 3], [4, 5, 6], [7]]
    assert walk("before", order="desc") == [[7, 6, 5], [4, 3, 2], [1]]
    assert walk("after", after=2, before=5) == [[3, 4]]


def test_expired_messages_are_left_out(api: Api) -> None:
    api.publish("a.b", 1, metadata={"expiresAt": "2001-01-01T00:00:00Z"})
    api.publish("a.b", 2, metadata={"expiresAt": "2100-01-01T00:00:00Z"})
    [message] = api.get("topics/a.b/messages").json()["messages"]
    assert (message["seq"], message["payload"]) == (2, 2)


def test_the_system_topics_are_the_admins_to_read(admin: Api) -> None:
    rows.topic("$sys.sessions")
    assert topics(admin) == ["$sys.sessions"]
    assert admin.get("topics/$sys.sessions/messages").status_code == 200
