"""Subscriptions that others change: what servers find of it when the bus said nothing."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.principal import Principal
from notifications.models import Server, Session, Subscription
from notifications.services import outside_changes
from notifications.services.outside_changes import (
    begin_subscription,
    changed_lately,
    end_subscription,
    end_subscriptions,
)
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)

OPERATOR = Principal(
    id="user:1", user_id=None, name="o", is_admin=True, publish=(), subscribe=("**",)
)
LATER = rows.NOW + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(outside_changes, "tell_servers", messages.append)
    return messages


def session_on(server: str, client_id: str) -> Session:
    Server.objects.get_or_create(
        id=server, defaults={"host": "h", "pid": 1, "started_at": rows.NOW, "seen_at": rows.NOW}
    )
    return rows.session(OPERATOR.id, client_id, server_id=server)


def test_a_server_finds_what_was_changed_of_its_own_sessions() -> None:
    begun, ended, dropped, other, elsewhere = (
        session_on("here" if client_id != "elsewhere" else "there", client_id)
        for client_id in ("begun", "ended", "dropped", "other", "elsewhere")
    )
    for session in (begun, elsewhere):
        begin_subscription(handle=session.pk, topic="a.b", options={}, by=OPERATOR, now=LATER)
    held = rows.subscription(OPERATOR.id, "a.b", "ended")
    end_subscription(handle=ended.pk, subscription_id=str(held.pk), now=LATER)
    end_subscriptions([rows.subscription(OPERATOR.id, "a.b", "dropped")], now=LATER)
    expected = dict.fromkeys((begun.pk, ended.pk, dropped.pk), LATER)
    assert changed_lately("here", since=LATER) == expected
    assert changed_lately("here", since=LATER + timedelta(microseconds=1)) == {}
    assert changed_lately("there", since=rows.NOW) == {elsewhere.pk: LATER}
    other.refresh_from_db()
    assert other.subscriptions_changed_at is None


def test_many_that_end_are_told_in_parts(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(outside_changes, "ENDED_AT_ONCE", 2)
    held = [rows.subscription(OPERATOR.id, f"a.{number}") for number in range(3)]
    end_subscriptions(held, now=LATER)
    assert [len(message["dropped"]) for message in told] == [2, 1]
    assert not Subscription.objects.exists()
