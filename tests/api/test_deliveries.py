"""GET /messages/{id}/deliveries: for whom, and what it looks like."""

import uuid

import pytest

from notifications.api import deliveries as door
from notifications.models import Delivery, Message
from notifications.selectors import deliveries as selector
from tests.api.conftest import Api, holder
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def message(api: Api) -> str:
    """A message of the ordinary key, and a client that it is for."""
    rows.subscription("user:1", "a.*")
    rows.session("user:1")
    answer = api.publish("a.b", 1)
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def test_the_publisher_sees_who_got_it(api: Api, message: str) -> None:
    row = Message.objects.get(pk=message)
    (found,) = api.get(f"messages/{message}/deliveries").json()["deliveries"]
    assert found == {
        "session": found["session"],
        "user": "user:1",
        "clientId": "c",
        "state": "pending",
        "attempts": 1,
        "reason": None,
        "since": found["since"],
    }
    Delivery.objects.create(
        message_id=row.pk,
        topic="a.b",
        partition=row.partition_id,
        offset=row.offset,
        publisher=row.publisher,
        session_id=found["session"],
        state="undelivered",
        attempts=5,
        reason="not_acknowledged",
        since=rows.NOW,
    )
    gone = {
        "deliveries": [
            found
            | {
                "state": "undelivered",
                "attempts": 5,
                "reason": "not_acknowledged",
                "since": "2026-03-01T12:00:00.000Z",
            }
        ],
        "next": None,
    }
    assert api.get(f"messages/{message}/deliveries").json() == gone
    # Its publisher may ask when the message itself has been purged.
    row.delete()
    assert api.get(f"messages/{message}/deliveries").json() == gone


def test_a_foreign_message_is_as_absent_as_any(admin: Api, message: str) -> None:
    def ask(who: Api, message_id: object) -> tuple[int, object]:
        answer = who.get(f"messages/{message_id}/deliveries")
        return answer.status_code, answer.json()

    other = holder("other", "a.**")
    foreign = ask(other, message)
    assert foreign[0] == 403
    assert isinstance(foreign[1], dict)
    assert foreign[1]["code"] == "FORBIDDEN"
    assert ask(other, uuid.uuid4()) == ask(other, "nonsense") == foreign
    assert ask(admin, message)[0] == 200
    status, body = ask(admin, uuid.uuid4())
    assert isinstance(body, dict)
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert ask(admin, "nonsense") == (status, body)


def test_pages(api: Api, message: str) -> None:
    assert selector.PAGE == 100
    for number in range(120):
        rows.subscription("user:2", "a.b", f"c{number}")
        rows.session("user:2", f"c{number}")
    first = api.get(f"messages/{message}/deliveries").json()
    second = api.get(f"messages/{message}/deliveries", after=first["next"]).json()
    assert (len(first["deliveries"]), len(second["deliveries"])) == (100, 21)
    assert second["next"] is None
    seen = {row["session"] for row in first["deliveries"] + second["deliveries"]}
    assert len(seen) == 121


@pytest.mark.parametrize("after", ["x", "1", "\0"])
def test_bad_places(api: Api, message: str, after: str) -> None:
    answer = api.get(f"messages/{message}/deliveries", after=after)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_FRAME")
    assert "`after`" in answer.json()["detail"]


def test_the_place_of_a_page_survives_its_way_through_a_url() -> None:
    place = uuid.uuid4()
    assert door._read_place(place.hex) == place
