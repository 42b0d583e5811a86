import uuid
from datetime import timedelta
from typing import Any

import pytest

from notifications.api import sessions as door
from notifications.models import Server, Session
from notifications.services import disconnecting
from tests.api.conftest import Api
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


def clients(api: Api, **query: Any) -> list[str]:
    answer = api.get("sessions", **query)
    assert answer.status_code == 200, answer.content
    return [session["clientId"] for session in answer.json()["sessions"]]


@pytest.fixture
def population(api: Api) -> dict[str, Session]:
    """A session of the ordinary key and two of others."""
    ann = rows.user("ann")
    server = Server.objects.create(id="s1", host="h", pid=1, started_at=rows.NOW, seen_at=rows.NOW)
    return {
        "mine": rows.session(api.principal, "mine", server=server),
        "hers": rows.session(
            f"user:{ann.pk}", "hers", user=ann, since=rows.NOW - timedelta(seconds=1)
        ),
        "gone": rows.session(
            f"user:{ann.pk}", "gone", user=ann, ended=True, since=rows.NOW - timedelta(seconds=2)
        ),
    }


@pytest.mark.usefixtures("population")
def test_users_see_their_own_and_admins_all(api: Api, admin: Api) -> None:
    assert clients(api) == ["mine"]
    assert clients(api, user="ann") == []
    assert clients(admin) == ["mine", "hers", "gone"]
    assert clients(admin, user="ann") == ["hers", "gone"]
    assert clients(admin, user="ann", state="connected") == ["hers"]
    assert clients(admin, server="s1") == ["mine"]


def test_what_is_said_of_a_session(api: Api, population: dict[str, Session]) -> None:
    held = rows.subscription(api.principal, "a.*", "mine")
    Session.objects.filter(client_id="mine").update(connects=3, messages_sent=40)
    described = {
        "id": str(population["mine"].pk),
        "user": api.principal,
        "clientId": "mine",
        "state": "connected",
        "reason": None,
        "server": "s1",
        "since": "2026-03-01T12:00:00.000Z",
        "subscriptions": [
            {
                "subscriptionId": str(held.pk),
                "topic": "a.*",
                "createdAt": "2026-03-01T12:00:00.000Z",
            }
        ],
        "counters": {"connects": 3, "messagesSent": 40},
    }
    assert api.get(f"sessions/{population['mine'].pk}").json() == described
    assert api.get("sessions").json() == {"sessions": [described], "next": None}


def test_pages(admin: Api) -> None:
    for number in range(150):
        rows.session("user:1", f"c{number}", since=rows.NOW + timedelta(microseconds=number // 2))
    first = admin.get("sessions").json()
    second = admin.get("sessions", after=first["next"]).json()
    assert (len(first["sessions"]), len(second["sessions"])) == (100, 50)
    assert second["next"] is None
    ids = {session["id"] for session in first["sessions"] + second["sessions"]}
    assert len(ids) == 150


@pytest.mark.parametrize(
    "query",
    [
        {"state": "asleep"},
        {"user": "\0"},
        {"after": "x"},
        {"after": "1"},
        {"after": f"{10**30}.{uuid.UUID(int=0).hex}"},
        {"after": f"{'9' * 5000}.{uuid.UUID(int=0).hex}"},
    ],
)
def test_bad_queries(api: Api, query: dict[str, str]) -> None:
    answer = api.get("sessions", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_FRAME")
    assert f"`{next(iter(query))}`" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_foreign_session_is_as_absent_as_any(
    api: Api, admin: Api, population: dict[str, Session], method: str
) -> None:
    def ask(who: Api, handle: object) -> tuple[int, dict[str, Any]]:
        if method == "get":
            answer = who.get(f"sessions/{handle}")
        else:
            answer = who.post(f"sessions/{handle}/disconnect", b"")
        return answer.status_code, answer.json()

    foreign = ask(api, population["hers"].pk)
    assert foreign[0] == 403
    assert foreign[1]["code"] == "FORBIDDEN"
    assert ask(api, uuid.uuid4()) == ask(api, "nonsense") == foreign
    status, body = ask(admin, uuid.uuid4())
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert ask(admin, "nonsense") == (status, body)
    population["hers"].refresh_from_db()
    assert population["hers"].state == "connected"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What servers are told."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(disconnecting, "tell_servers", messages.append)
    return messages


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", disconnecting.DEFAULT_WORDS),
        (b"{}", disconnecting.DEFAULT_WORDS),
        (b'{"reason":null}', disconnecting.DEFAULT_WORDS),
        (b'{"reason":"Good night."}', "Good night."),
    ],
)
def test_disconnecting(
    api: Api,
    population: dict[str, Session],
    told: list[dict[str, Any]],
    body: bytes,
    words: str,
) -> None:
    mine = population["mine"]
    answer = api.post(f"sessions/{mine.pk}/disconnect", body)
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["reason"]) == ("disconnected", "server_initiated")
    mine.refresh_from_db()
    assert mine.ended_at is not None
    assert told == [{"close": str(mine.pk), "code": 4503, "reason": words}]


def test_disconnecting_twice_is_told_once(
    admin: Api, population: dict[str, Session], told: list[dict[str, Any]]
) -> None:
    path = f"sessions/{population['hers'].pk}/disconnect"
    first, second = admin.post(path, b""), admin.post(path, b"")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"[]", "application/json", 400),
        (b'{"reason":5}', "application/json", 400),
        (b'{"reason":"' + b"x" * 129 + b'"}', "application/json", 400),
        (b" " * 100_000, "application/json", 413),
        (b"reason=x", "application/x-www-form-urlencoded", 415),
    ],
)
def test_bodies_that_are_refused_disconnect_nobody(
    api: Api,
    population: dict[str, Session],
    told: list[dict[str, Any]],
    body: bytes,
    content_type: str,
    status: int,
) -> None:
    answer = api.post(f"sessions/{population['mine'].pk}/disconnect", body, content_type)
    assert answer.status_code == status
    assert told == []


def test_the_place_of_a_page_survives_its_way_through_a_url() -> None:
    place = (rows.NOW + timedelta(microseconds=123_456), uuid.uuid4())
    assert door._read_place(door._write_place(*place)) == place
