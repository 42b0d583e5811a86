"""Who got a message: what was written down, and what is computed where nothing was."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.log.creation import read_identity
from notifications.models import Delivery, Message, Session, Subscription
from notifications.selectors.deliveries import DeliveryRow, find_tracked, list_deliveries
from tests.selectors import rows

pytestmark = pytest.mark.django_db

ACKED_AT = rows.NOW + timedelta(minutes=1)


@pytest.fixture
def message() -> Message:
    """Message 2 of a.b."""
    return rows.messages("a.b", 2, publisher="user:9")[1]


def cursor(offset: int) -> dict[str, Any]:
    return {"epoch": read_identity().epoch, "offsets": {"0": offset}}


def subscriber(client_id: str = "c", **fields: Any) -> Session:
    rows.subscription("user:1", "a.*", client_id)
    return rows.session("user:1", client_id, **fields)


def written(message: Message, session: Session, **fields: Any) -> Delivery:
    return Delivery.objects.create(
        **{
            "message_id": message.pk,
            "topic": "a.b",
            "partition": 0,
            "offset": 2,
            "publisher": "user:9",
            "session": session,
            "since": rows.NOW,
        }
        | fields
    )


def listed(message: Message, **arguments: Any) -> list[DeliveryRow]:
    tracked = find_tracked(message.pk)
    assert tracked is not None
    return list_deliveries(tracked, **arguments)[0]


def summary(found: list[DeliveryRow]) -> dict[str, tuple[str, int, str]]:
    return {row.client_id: (row.state, row.attempts, row.reason) for row in found}


def test_without_rows_it_is_computed(message: Message) -> None:
    ann = rows.user("ann")
    subscriber("waits", user=ann)
    subscriber("away", state=Session.State.RECONNECTING)
    subscriber("has", acked=cursor(2), acked_at=ACKED_AT)
    subscriber("had", acked={**cursor(2), "epoch": "another"}, acked_at=ACKED_AT)
    subscriber("ended", ended=True)
    rows.session("user:1", "elsewhere")
    subscriber("later")
    Subscription.objects.filter(client_id="later").update(
        begin={"0": 2}, epoch=read_identity().epoch
    )
    found = listed(message)
    assert summary(found) == {
        "waits": ("pending", 1, ""),
        "away": ("pending", 1, ""),
        "has": ("acknowledged", 1, ""),
        "had": ("pending", 1, ""),
    }
    by_client = {row.client_id: row for row in found}
    assert (by_client["waits"].user, by_client["away"].user) == ("ann", "user:1")
    assert by_client["waits"].since == message.published_at
    assert by_client["has"].since == ACKED_AT


def test_rows_are_told_with_the_cursors_of_now(message: Message) -> None:
    written(message, subscriber("silent"), attempts=3, reason="no_ack")
    written(message, subscriber("spoke", acked=cursor(2), acked_at=ACKED_AT), reason="no_ack")
    gone = subscriber("gone", ended=True, acked=cursor(2))
    written(message, gone, state="undelivered", reason="session_ended")
    written(message, subscriber("done"), state="acknowledged")
    subscriber("came later", id=uuid.UUID(int=2**128 - 1))
    found = listed(message)
    assert listed(message, after=found[-1].session) == []
    assert summary(found) == {
        "silent": ("pending", 3, "no_ack"),
        "spoke": ("acknowledged", 1, ""),
        "gone": ("undelivered", 1, "session_ended"),
        "done": ("acknowledged", 1, ""),
    }
    since = {row.client_id: row.since for row in found}
    assert (since["silent"], since["spoke"]) == (rows.NOW, ACKED_AT)


@pytest.mark.parametrize("are_written", [False, True])
def test_pages_go_by_session(message: Message, are_written: bool) -> None:
    for number in range(5):
        session = subscriber(f"c{number}")
        if are_written:
            written(message, session)
    tracked = find_tracked(message.pk)
    assert tracked is not None
    seen: list[uuid.UUID] = []
    after: uuid.UUID | None = None
    sizes = []
    while True:
        page, after = list_deliveries(tracked, after=after, limit=2)
        sizes.append(len(page))
        seen += [row.session for row in page]
        if after is None:
            break
    assert sizes == [2, 2, 1]
    assert seen == sorted(seen)
    assert set(seen) == set(Session.objects.values_list("pk", flat=True))
    # Past the last row there is nothing, computed or not.
    assert list_deliveries(tracked, after=seen[-1]) == ([], None)


@pytest.mark.parametrize("are_written", [False, True])
def test_more_rows_take_no_more_queries(message: Message, are_written: bool) -> None:
    def add(number: int) -> None:
        session = subscriber(f"c{number}", user=rows.user(f"u{number}"))
        if are_written:
            written(message, session)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            listed(message)
        return len(captured)

    add(0)
    few = queries()
    for number in range(1, 8):
        add(number)
    assert queries() == few
    assert len(listed(message)) == 8


def test_a_purged_message_is_remembered_by_its_rows(message: Message) -> None:
    written(message, subscriber(), state="undelivered", reason="purged")
    number = message.pk
    message.delete()
    tracked = find_tracked(number)
    assert tracked is not None
    assert (tracked.publisher, tracked.published_at) == ("user:9", None)
    assert summary(list_deliveries(tracked)[0]) == {"c": ("undelivered", 1, "purged")}
    Delivery.objects.all().delete()
    assert list_deliveries(tracked) == ([], None)
    assert find_tracked(number) is None
